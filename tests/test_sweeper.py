"""The sweeper: on time without a message, alone, beside others, with the broker gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection, transaction

from grants import clock, due, sweeper
from grants.audit import Verb, record
from grants.audit.export import make_key
from grants.audit.heads import read
from grants.audit.models import AuditHead
from grants.catalog.models import Resource
from grants.due import DueJob
from grants.lifecycle import access, decide
from grants.notifications.mail import send_pending
from grants.notifications.models import Cursor
from grants.tasks import run
from tests.cast import Cast

Move = Callable[[datetime | timedelta | None], datetime]
pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture(autouse=True)
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    env = settings.ENV.model_copy(update={"audit_key_file": tmp_path / "key", "audit_heads_file": tmp_path / "heads"})
    monkeypatch.setattr(settings, "ENV", env)
    make_key(env.audit_key_file)
    return env.audit_heads_file


def test_a_turn_does_what_is_due(cast: Cast, at: Move, heads: Path) -> None:
    decide.approve(cast.asks(), by=cast.chiara)
    pending = cast.asks(cast.ada, (cast.pool, "run"))
    assert sweeper.turn() == 0
    assert len(list(read(heads))) == 1
    at(timedelta(days=3))
    assert sweeper.turn() == 2  # one elapsed, one lapsed
    assert sweeper.turn() == 0
    pending.refresh_from_db()
    assert pending.state == "lapsed"
    assert len(list(read(heads))) == 2  # three days later, one head; not one a turn


def test_a_head_that_cannot_be_written_stays_due(at: Move, heads: Path) -> None:
    heads.mkdir()
    sweeper.turn()
    assert DueJob.objects.get(name="heads").due_at > clock.now()
    heads.rmdir()
    at(timedelta(seconds=16))
    sweeper.turn()
    assert heads.read_text()


def test_due_jobs_are_published_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    due.ensure("sync:prefect-prod")
    published: list[str] = []
    monkeypatch.setattr(sweeper.run, "apply_async", lambda args, **_: published.append(args[0]))
    assert sweeper.publish() == 2
    assert sweeper.publish() == 0  # leased
    assert sorted(published) == ["mail", "sync:prefect-prod"]


def test_a_message_that_was_lost_is_published_again(at: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    due.ensure("sync:prefect-prod")
    monkeypatch.setattr(sweeper.run, "apply_async", lambda args, **_: None)
    assert sweeper.publish() == 1
    at(due.LEASE + timedelta(seconds=1))
    assert sweeper.publish() == 1


@pytest.mark.parametrize("hurried", [True, False])
def test_what_is_hurried_while_it_runs_is_due_again(at: Move, hurried: bool) -> None:
    """A token was revoked while others were being delivered: the machine gets another one now, not in a minute."""
    due.ensure("token:5")
    at(timedelta(seconds=5))
    assert "token:5" in due.claim(in_place=False)
    at(timedelta(seconds=5))
    if hurried:
        due.hurry("token:5")
    at(timedelta(seconds=5))
    due.done("token:5", again=timedelta(minutes=1))
    assert ("token:5" in due.claim(in_place=False)) == hurried


def test_a_broker_that_is_gone_loses_nothing(at: Move) -> None:
    """The test settings name a broker that nobody listens on: publishing really fails."""
    due.ensure("sync:prefect-prod")
    assert sweeper.publish() == 1
    job = DueJob.objects.get(name="sync:prefect-prod")
    assert job.lease_until is None
    assert timedelta(0) < job.due_at - clock.now() <= timedelta(seconds=2)


def test_a_job_that_the_database_interrupted_is_given_back(at: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that somebody held too long, say: soon again, not when the lease is over."""

    def fold() -> bool:
        connection.cursor().execute("SELECT 1 / 0")
        return False

    monkeypatch.setattr("grants.tokens.usage.fold", fold)
    due.ensure("usage")
    assert "usage" in due.claim(in_place=False)
    at(timedelta(seconds=1))
    run("usage")
    job = DueJob.objects.get(name="usage")
    assert job.lease_until is None
    assert timedelta(0) < job.due_at - clock.now() <= timedelta(seconds=15)


def test_mail_is_due_only_when_something_is_unread(cast: Cast) -> None:
    assert "mail" in due.claim(in_place=False)
    send_pending()
    due.done("mail", again=timedelta(0))
    assert due.claim(in_place=False) == []
    cast.asks()
    assert due.claim(in_place=False) == ["mail"]


def test_approvers_are_told_and_then_the_asker(cast: Cast) -> None:
    send_pending()
    mail.outbox.clear()
    request = cast.asks(cast.ada, (cast.pool, "run"))
    assert send_pending() == 2
    assert sorted(message.to[0] for message in mail.outbox) == ["chiara@example.org", "tomasz@example.org"]
    told = mail.outbox[0]
    assert f"{settings.ENV.public_url}/requests/{request.pk}" in told.body
    assert "/approve" not in told.body
    mail.outbox.clear()

    decide.approve(request, by=cast.chiara)
    assert send_pending() == 0  # the stage's people know already
    decide.approve(request, by=cast.tomasz, note="Mind the finance load")
    assert send_pending() == 1
    assert mail.outbox[0].to == ["ada@example.org"]
    assert send_pending() == 0


def test_nobody_is_asked_about_what_is_decided(cast: Cast) -> None:
    send_pending()
    mail.outbox.clear()
    decide.withdraw(cast.asks(), by=cast.ada)
    assert send_pending() == 0


def test_a_mail_server_that_is_gone_loses_no_mail(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    send_pending()
    cast.asks()
    before = Cursor.objects.get().seq
    monkeypatch.setattr("django.core.mail.EmailMessage.send", _down)
    with pytest.raises(ConnectionRefusedError):
        send_pending()
    cursor = Cursor.objects.get()
    assert cursor.seq == before
    assert "ConnectionRefusedError" in cursor.error
    monkeypatch.undo()
    mail.outbox.clear()
    assert send_pending() == 2
    assert (Cursor.objects.get().seq, Cursor.objects.get().error) == (AuditHead.objects.get().seq, "")


def _down(_message: object) -> int:
    raise ConnectionRefusedError("nobody listens")


@pytest.mark.parametrize("what", ["denied", "lapsed", "revoked", "retired", "withdrawn", "given back", "elapsed"])
def test_who_is_told_of_an_end(cast: Cast, at: Move, what: str) -> None:
    """Fault: a verb without its Mail in the one table."""
    request = cast.asks()
    if what in ("revoked", "retired", "given back", "elapsed"):
        decide.approve(request, by=cast.chiara)
    send_pending()
    mail.outbox.clear()
    match what:
        case "denied":
            decide.deny(request, by=cast.chiara, note="Not this week")
        case "withdrawn":
            decide.withdraw(request, by=cast.ada)
        case "lapsed" | "elapsed":
            at(timedelta(days=3))
            sweeper.turn()
        case "revoked":
            access.revoke(request.grants.get(), by=cast.chiara)
        case "given back":
            access.give_back(request.grants.get(), by=cast.ada)
        case "retired":
            with transaction.atomic():
                Resource.objects.filter(pk=cast.deployment.pk).update(retired_at=clock.now())
                record(Verb.CATALOG_SYNCED, by="test", on=[cast.deployment])
            access.close_retired()
    told = what in ("denied", "lapsed", "revoked", "retired")
    assert (send_pending(), [message.to for message in mail.outbox]) == (told, [["ada@example.org"]] * told)
