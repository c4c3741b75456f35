"""Tokens that a task writes into a file: nobody is shown them, no message carries them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts import service_identities
from accounts.errors import NotAllowed
from grants import clock, due, sweeper, tasks
from grants.audit.models import AuditEvent
from grants.due import DueJob
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.policy import versions
from grants.tokens import deliver, issue
from grants.tokens.mint import read
from grants.tokens.models import Credential
from tests.cast import POLICY, Cast
from tests.tokens.scene import WORKERS, asks_for, machine, working

pytestmark = pytest.mark.django_db

type At = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.ENV = settings.ENV.model_copy(update={"token_dir": tmp_path / "tokens"})
    return tmp_path / "tokens"


@pytest.fixture
def job(cast: Cast, at: At) -> Grant:
    """A CI job that may run etl/prod for two hours: its tokens last one."""
    at(clock.now())
    versions.apply(POLICY + WORKERS, by=None)
    request = asks_for(
        cast, machine("ingest", cast.ada, "ci"), by=cast.ada, minutes=120, resource=cast.deployment, level="run"
    )
    return decide.approve(request, by=cast.chiara).grants.get()


def run(grant: Grant) -> timedelta:
    return deliver.deliver(grant.beneficiary_id)


def file_of(grant: Grant) -> Path:
    return deliver.path_of(grant.beneficiary_id, grant.resource_id, grant.level)


def delivered(grant: Grant) -> Credential:
    return Credential.objects.get(digest=read(file_of(grant).read_text().strip()))


def test_written_for_its_reader_alone(folder: Path, job: Grant) -> None:
    assert run(job) == deliver.LOOK_AGAIN
    file = file_of(job)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    token = delivered(job)
    assert (token.grant, token.subject, token.issued_by) == (job, job.beneficiary, None)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor, event.seq) == ("token.issued", "delivery", token.version)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_run_twice_it_does_no_harm(folder: Path, job: Grant) -> None:
    run(job)
    before = file_of(job).read_text()
    run(job)
    assert file_of(job).read_text() == before
    assert Credential.objects.count() == 1


def test_replaced_before_it_expires_the_old_one_works_on(folder: Path, job: Grant, at: At) -> None:
    run(job)
    old = delivered(job)
    at(timedelta(minutes=39, seconds=30))
    assert run(job) == timedelta(seconds=30)
    assert delivered(job) == old
    at(timedelta(seconds=30))
    run(job)
    new = delivered(job)
    old.refresh_from_db()
    assert new != old
    assert old.revoked_at is None
    assert AuditEvent.objects.latest("seq").verb == "token.rotated"
    at(timedelta(minutes=40))
    run(job)
    assert delivered(job).expires_at == job.ends_at  # no longer than its grant, so this one is the last
    at(timedelta(minutes=39))
    before = Credential.objects.count()
    run(job)
    assert Credential.objects.count() == before


@pytest.mark.parametrize("harm", ["gone", "torn", "garbage", "of another grant", "revoked"])
def test_what_the_file_has_lost_is_made_anew(folder: Path, cast: Cast, job: Grant, harm: str) -> None:
    run(job)
    old, file = delivered(job), file_of(job)
    if harm == "gone":
        file.unlink()
    elif harm == "torn":
        file.write_text(file.read_text()[:40])
    elif harm == "garbage":
        file.write_bytes(b"\xff" * 5000)
    elif harm == "of another grant":
        other = decide.approve(cast.asks(), by=cast.chiara).grants.get()
        file.write_text(issue.issue(other, by=cast.ada).token)
    else:
        DueJob.objects.create(name=f"token:{job.beneficiary_id}", due_at=clock.now() + timedelta(hours=1))
        issue.revoke(old, by=cast.priya)
        assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at <= clock.now()
    run(job)
    new = delivered(job)
    old.refresh_from_db()
    assert new != old
    assert new.grant == job
    assert old.revoked_at  # nobody can have it, or nobody should


def test_of_work_it_is_one_for_the_whole_grant(folder: Path, cast: Cast, at: At) -> None:
    at(clock.now())
    grant = working(cast, minutes=600)
    run(grant)
    assert delivered(grant).expires_at == grant.drain_until
    at(timedelta(minutes=599))
    run(grant)
    assert Credential.objects.count() == 1


def test_the_next_grant_takes_the_file_over(folder: Path, cast: Cast, at: At) -> None:
    at(clock.now())
    grant = working(cast, minutes=60)
    run(grant)
    at(timedelta(minutes=50))
    following = decide.approve(asks_for(cast, grant.beneficiary, by=cast.ben), by=cast.chiara).grants.get()
    run(grant)
    assert file_of(following) == file_of(grant)
    assert delivered(following).grant == following


@pytest.mark.parametrize("end", ["elapsed", "revoked", "switched off"])
def test_removed_when_it_is_over(folder: Path, cast: Cast, job: Grant, at: At, end: str) -> None:
    run(job)
    if end == "elapsed":
        at(timedelta(minutes=120))
    elif end == "revoked":
        access.revoke(job, by=cast.chiara)
    else:
        service_identities.switch_off(job.beneficiary, by=cast.ada)
    run(job)
    assert list(file_of(job).parent.iterdir()) == []
    assert Credential.objects.count() == 1


def test_due_when_access_opens_and_the_secret_is_in_no_message(
    folder: Path, cast: Cast, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the approval to the file: the sweeper publishes the row's name, and nothing else."""
    versions.apply(POLICY + WORKERS, by=None)
    worker = machine("ingest", cast.ada)
    deliver.begin(worker, by=cast.ben)
    assert deliver.is_on(worker)
    due.done(f"token:{worker.pk}", again=timedelta(hours=1))
    DueJob.objects.exclude(name=f"token:{worker.pk}").update(due_at=clock.now() + timedelta(hours=1))
    grant = decide.approve(asks_for(cast, worker, by=cast.ada), by=cast.chiara).grants.get()
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(tasks.run, "apply_async", lambda **message: sent.append(message))
    assert sweeper.publish() == 1
    assert sent == [{"args": [f"token:{worker.pk}"], "retry": False}]
    tasks.run(*json.loads(json.dumps(sent[0]["args"])))
    assert delivered(grant)
    again = DueJob.objects.get(name=f"token:{worker.pk}")
    assert again.lease_until is None
    assert timedelta(seconds=50) < again.due_at - clock.now() <= timedelta(minutes=1)


def test_a_message_without_its_row_delivers_nothing(folder: Path, cast: Cast, job: Grant) -> None:
    """Late, delivered twice, or put into the broker by somebody else: for a machine whose team said no, or a person."""
    deliver.begin(job.beneficiary, by=cast.ada)
    deliver.end(job.beneficiary, by=cast.ada)
    mine = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    for grant in (job, mine):
        tasks.run(f"token:{grant.beneficiary_id}")
        assert not file_of(grant).exists()
    assert not Credential.objects.exists()


@pytest.mark.parametrize("act", [issue.revoke, issue.rotate], ids=["revoked", "replaced"])
def test_a_delivered_token_that_ends_is_replaced_at_once(
    folder: Path, cast: Cast, job: Grant, act: Callable[..., object]
) -> None:
    deliver.begin(job.beneficiary, by=cast.ada)
    tasks.run(f"token:{job.beneficiary_id}")
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at > clock.now()
    act(delivered(job), by=cast.ada)
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at <= clock.now()


def test_a_pipe_in_its_place_holds_nobody(folder: Path, job: Grant) -> None:
    """The machine that reads there may write there, too."""
    run(job)
    file = file_of(job)
    file.unlink()
    os.mkfifo(file)
    with in_time():
        run(job)
    assert delivered(job).grant == job


def test_only_what_we_write_is_removed(folder: Path, tmp_path: Path, job: Grant) -> None:
    """With the whole folder in a machine's hands, a link must not lead us to files of Stint's own."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("audit.pem", "heads.jsonl", "1.run", f".1.run.{'a' * 16}"):
        (data / name).touch()
    folder.mkdir()
    file_of(job).parent.symlink_to(data, target_is_directory=True)
    run(job)
    left = {"audit.pem", "heads.jsonl", file_of(job).name}
    assert {file.name for file in data.iterdir()} == left
    (data / "2.work").mkdir()  # no file, so nothing to trip over
    run(job)
    assert {file.name for file in data.iterdir()} == {*left, "2.work"}


@contextmanager
def in_time() -> Iterator[None]:
    """Whoever opens a pipe waits for ever: then the alarm comes."""

    def late(*_: object) -> None:
        raise AssertionError("still waiting")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_begun_and_ended_by_its_team_and_in_the_record(cast: Cast) -> None:
    worker = machine("ingest", cast.ada)
    for act in (deliver.begin, deliver.end):
        for other in (cast.chiara, cast.oscar):
            with pytest.raises(NotAllowed):
                act(worker, by=other)
    with pytest.raises(NotAllowed):
        deliver.begin(cast.ben, by=cast.ben)  # a person
    deliver.begin(worker, by=cast.ada)
    deliver.begin(worker, by=cast.ada)
    deliver.end(worker, by=cast.priya)
    assert not deliver.is_on(worker)
    verbs = AuditEvent.objects.filter(verb__startswith="delivery").values_list("verb", "actor").order_by("seq")
    assert list(verbs) == [("delivery.begun", cast.ada.ref), ("delivery.ended", cast.priya.ref)]


def test_without_a_folder_nothing_is_made(cast: Cast, job: Grant) -> None:
    with pytest.raises(deliver.NoFolder):
        run(job)
    deliver.begin(job.beneficiary, by=cast.ada)
    tasks.run(f"token:{job.beneficiary_id}")  # said in the log, tried again
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at > clock.now()
    assert not Credential.objects.exists()
