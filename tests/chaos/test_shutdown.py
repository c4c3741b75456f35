"""SIGTERM: what a worker has leased is done and written down, or handed on; nothing is done twice, and it ends.

And the other end: starting while what it needs is away.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from accounts.models import IdP
from grants.audit.models import AuditHead
from grants.due import DueJob, ProcessBeat
from grants.lifecycle.models import RoleBinding
from grants.notifications.models import Cursor
from tests.chaos import judge
from tests.chaos.stage import Stage, staged, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chaos-2")]
ENDS_IN = 75  # seconds, however slow the machine; the worker itself gives up after 60


@pytest.fixture(scope="module")
def a_stage(django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    with staged(django_db_blocker, people=6) as stage:
        stage.more_env = {"STINT_SYNC_SECONDS": "600"}
        stage.start_idp()
        yield stage


@pytest.fixture
def stage(a_stage: Stage) -> Iterator[Stage]:
    a_stage.more_env = {"STINT_SYNC_SECONDS": "600"}
    a_stage.slow(0.01)
    if "valkey" not in a_stage.parts.running:
        a_stage.start_valkey()
    yield a_stage
    for name in a_stage.running():
        a_stage.kill(name)


def started(stage: Stage) -> str:
    ProcessBeat.objects.all().delete()
    name = stage.start_worker()
    until(ProcessBeat.objects.exists, "the worker is at work")
    return name


def ended(stage: Stage, name: str) -> str:
    """Told to end, it ends by itself; what it had to say."""
    process = stage.parts.running[name]
    process.terminate()
    process.wait(ENDS_IN)
    stage.parts.running.pop(name)
    return stage.parts.log(name).read_text()


def test_claimed_work_is_finished(stage: Stage) -> None:
    worker = started(stage)
    stage.slow(1.0)
    for name in stage.people:
        stage.gets(name, 600)
    at_work = RoleBinding.objects.filter(lease__isnull=False)
    until(lambda: at_work.filter(phase="adding").exists(), "calls are in flight")
    said = ended(stage, worker)
    assert "Timeout (" not in said
    assert not at_work.exists()
    stage.slow(0.01)
    started(stage)
    judge.rest(stage)
    judge.all_is_well(stage, set())
    posts = Counter(call.user for call in stage.idp().calls() if call.method == "POST")
    assert posts == dict.fromkeys([stage.external[name] for name in stage.people], 1)


def test_ordinary_tasks_are_neither_lost_nor_done_twice(stage: Stage) -> None:
    stage.more_env |= {"STINT_CHAOS_MAIL_SECONDS": "0.3"}
    stage.slow(1.0)
    DueJob.objects.filter(name="directory:sso").delete()
    before = IdP.objects.get().seen_at
    (stage.folder / "served").write_text("")
    for name in stage.people[:4]:
        stage.asks(name, 600, "view")
    worker = started(stage)
    until(lambda: any((stage.folder / "mail").iterdir()), "mail is being sent")
    until(lambda: "/groups?" in (stage.folder / "served").read_text(), "people are being read")
    assert IdP.objects.get().seen_at == before
    said = ended(stage, worker)
    said += _of_the_next(stage)
    assert IdP.objects.get().seen_at != before
    assert (stage.folder / "served").read_text().count("/groups?") == 1
    sent = [line for file in (stage.folder / "mail").iterdir() for line in file.read_text().splitlines()]
    ids = Counter(line for line in sent if line.startswith("Message-ID"))
    assert set(ids.values()) == {1}
    assert len(ids) >= 8  # two approvers each
    tasks = Counter(re.findall(r"Task stint\.run\[([\w-]+)\] received", said))
    assert tasks
    assert max(tasks.values()) == 1
    assert "unknown_job" not in said


def _of_the_next(stage: Stage) -> str:
    """What is left is done by the next worker, and nothing else."""
    worker = started(stage)
    jobs = DueJob.objects.exclude(name="mail")  # which is always about to be run again
    until(lambda: not jobs.filter(lease_until__isnull=False).exists(), "all jobs are done")
    head = AuditHead.objects.get().seq
    until(lambda: Cursor.objects.get(name="mail").seq >= head, "all mail is sent")
    time.sleep(2)  # a message that was left behind would be run by now
    return ended(stage, worker)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_it_ends_though_its_broker_goes_at_the_same_moment(stage: Stage, how: str) -> None:
    worker = started(stage)
    stage.slow(0.3)
    stage.gets(stage.people[4 if how == "killed" else 5], 600, "view")
    valkey = stage.pid("valkey")
    if how == "killed":
        stage.kill("valkey")
    else:
        os.kill(valkey, signal.SIGSTOP)
    said = ended(stage, worker)
    if how == "frozen":
        stage.kill("valkey")
    assert "sweeper_failed" not in said
    assert not RoleBinding.objects.filter(lease__isnull=False).exists()


def test_one_that_hangs_says_where_and_ends(stage: Stage) -> None:
    stage.more_env |= {"STINT_CHAOS_HANG": "1"}
    for _ in range(3):  # a stack that moves while it is read is cut short, for nobody is stopped for that
        said = ended(stage, started(stage))
        if "File ???" not in said:
            break
    assert "Timeout (0:00:02)!" in said
    assert "in end_in_time" not in said
    assert "chaos/worker.py" in said


def test_one_that_starts_before_its_database_waits_for_it(stage: Stage) -> None:
    """After a power cut they all start at once: whoever comes too early is not to be started again by hand."""
    ProcessBeat.objects.all().delete()
    for part in ("postgres", "valkey"):
        stage.kill(part)
    name = stage.start_worker()
    until(lambda: stage.parts.log(name).read_text().count("sweeper_waits_for_database") >= 10, "it waits")
    assert stage.running() == [name]
    stage.restart_postgres()
    until(ProcessBeat.objects.exists, "it is at work")
    assert stage.running() == [name]
