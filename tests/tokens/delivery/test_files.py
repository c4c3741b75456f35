"""Tokens that a task writes into a file: nobody is shown them, no message carries them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from accounts import service_identities
from grants import clock
from grants.audit.models import AuditEvent
from grants.due import DueJob
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.tokens.delivery import files
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.tokens.delivery.conftest import delivered, file_of
from tests.tokens.scene import asks_for, working

pytestmark = pytest.mark.django_db

type At = Callable[[datetime | timedelta | None], datetime]


def run(grant: Grant) -> timedelta:
    return files.deliver(grant.beneficiary_id)


def test_written_for_its_reader_alone(folder: Path, job: Grant) -> None:
    assert run(job) == files.LOOK_AGAIN
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
