"""Into the gate and out again, against the function that the gate calls."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from threading import Barrier, Thread

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client

from accounts import directory
from accounts.errors import NotAllowed
from accounts.idp import default
from accounts.models import Subject
from grants import clock
from grants.adapters.idp.base import DirectoryPerson
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.catalog.models import Connection
from grants.lifecycle import decide
from grants.tokens import tickets
from grants.tokens.mint import Minted, mint, read
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.conftest import connect
from tests.tokens.scene import machine

pytestmark = pytest.mark.usefixtures("commits")

type At = Callable[[datetime | timedelta | None], datetime]
NONCE = secrets.token_bytes(32)
DIGEST = hashlib.sha256(NONCE).digest()


@pytest.fixture
def gate(commits: None) -> Iterator[psycopg.Connection]:
    with connect("stint_gate", autocommit=True) as connection:
        yield connection


@pytest.fixture
def served(cast: Cast) -> Connection:
    with transaction.atomic():
        Connection.objects.filter(pk=cast.connection.pk).update(host="prefect.example.org")
        record(Verb.CONNECTION_APPLIED, by="test", on=[cast.connection])
    cast.connection.refresh_from_db()
    return cast.connection


def redeem(
    gate: psycopg.Connection, ticket: str, nonce: bytes = DIGEST, session: Minted | None = None
) -> list[tuple[object, ...]]:
    session = session or mint("gate_session")
    return gate.execute(
        "SELECT * FROM gate_redeem(%s, %s, %s, %s)", [read(ticket, "ticket"), nonce, session.key_id, session.digest]
    ).fetchall()


def sessions(gate: psycopg.Connection) -> list[tuple[object, ...]]:
    return gate.execute("SELECT subject_id, revoked FROM gate_credentials WHERE kind = 'gate_session'").fetchall()


def test_a_ticket_becomes_a_session_of_its_subject(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    until = clock.now() + timedelta(hours=3)
    ticket = tickets.hand_over(cast.ada, served, DIGEST, until=until)
    assert not sessions(gate)  # a ticket opens nothing
    session = mint("gate_session")
    assert redeem(gate, ticket, session=session) == [(cast.ada.pk, "prefect-prod", until)]
    row = Credential.objects.get(kind="gate_session")
    assert (row.subject, row.connection, row.grant, bytes(row.digest)) == (cast.ada, served, None, session.digest)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor) == ("gate.entered", cast.ada.ref)
    assert event.seq == row.version == Credential.objects.get(kind="ticket").version
    assert verify().whole


def test_it_is_good_once(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    assert redeem(gate, ticket)
    assert redeem(gate, ticket) == []
    assert len(sessions(gate)) == 1


@pytest.mark.parametrize("late", [30, 31, 3600])
def test_not_later_than_half_a_minute(
    cast: Cast, served: Connection, gate: psycopg.Connection, at: At, late: int
) -> None:
    at(clock.now())
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    at(timedelta(seconds=late))
    assert redeem(gate, ticket) == []


@pytest.mark.parametrize("nonce", [NONCE, bytes(32), b"", None], ids=["raw", "zeros", "empty", "none"])
def test_not_without_the_cookie_and_then_never(
    cast: Cast, served: Connection, gate: psycopg.Connection, nonce: bytes
) -> None:
    """A link to the portal may name anybody's nonce: who is made to follow it brings the ticket to the gate without.

    Whoever made that link has the nonce, and half a minute to read the ticket in a log: it must be spent by then.
    """
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    assert redeem(gate, ticket, nonce) == []
    assert redeem(gate, ticket) == []
    assert not sessions(gate)
    row, event = Credential.objects.get(), AuditEvent.objects.latest("seq")
    assert (row.kind, event.verb, event.actor, event.seq) == ("ticket", "gate.strayed", "gate", row.version)
    assert row.used_at
    assert verify().whole


def test_not_with_something_else_than_a_ticket(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    session = mint("gate_session")
    assert redeem(gate, tickets.hand_over(cast.ada, served, DIGEST), session=session)
    again = mint("gate_session")
    for digest in (session.digest, mint("ticket").digest, b"", None):
        rows = gate.execute(
            "SELECT * FROM gate_redeem(%s, %s, %s, %s)", [digest, DIGEST, again.key_id, again.digest]
        ).fetchall()
        assert rows == []


def test_not_by_who_was_switched_off_meanwhile(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    with transaction.atomic():
        Subject.objects.filter(pk=cast.ada.pk).update(active=False)
        record(Verb.SUBJECT_CHANGED, by="test", on=[cast.ada])
    assert redeem(gate, ticket) == []


def test_a_session_is_no_longer_than_the_portal_s(
    cast: Cast, served: Connection, gate: psycopg.Connection, at: At
) -> None:
    now = at(clock.now())
    ticket = tickets.hand_over(cast.ada, served, DIGEST, until=now + timedelta(days=30))
    assert redeem(gate, ticket)[0][2] == now + timedelta(hours=12)
    ticket = tickets.hand_over(cast.ada, served, DIGEST, until=now + timedelta(seconds=10))
    at(timedelta(seconds=10))
    assert redeem(gate, ticket) == []
    with pytest.raises(NotAllowed, match="Sign in again"):
        tickets.hand_over(cast.ada, served, DIGEST, until=now)


def test_who_gets_none(cast: Cast, served: Connection) -> None:
    with pytest.raises(NotAllowed, match="Only people"):
        tickets.hand_over(machine("ingest", cast.ada), served, DIGEST)
    cast.ben.active = False
    with pytest.raises(NotAllowed, match="Only people"):
        tickets.hand_over(cast.ben, served, DIGEST)
    served.host = ""
    with pytest.raises(NotAllowed, match="no gate"):
        tickets.hand_over(cast.ada, served, DIGEST)


@pytest.mark.parametrize("turn", range(5))
def test_six_gates_at_once_make_one_session(cast: Cast, served: Connection, turn: int) -> None:
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    barrier, won = Barrier(6), []

    def run() -> None:
        with connect("stint_gate", autocommit=True) as mine:
            barrier.wait()
            won.extend(redeem(mine, ticket))

    threads = [Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert Credential.objects.filter(kind="gate_session").count() == 1


def test_who_comes_back_begins_anew(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    """Switched off because a session was stolen, and on again the same day: what the thief has stays worthless."""
    redeem(gate, tickets.hand_over(cast.ada, served, DIGEST))
    waiting = tickets.hand_over(cast.ada, served, DIGEST)
    held = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    everybody = [
        DirectoryPerson(f"id-{name}", name, name.title(), f"{name}@example.org", True, ("ingest",) * (name == "ada"))
        for name in ("ada", "ben", "chiara", "tomasz", "priya", "olga", "oscar")
    ]
    directory.apply_listing(default(), [everybody[0]._replace(enabled=False), *everybody[1:]])
    directory.apply_listing(default(), everybody)
    assert sessions(gate) == [(cast.ada.pk, True)]
    assert redeem(gate, waiting) == []
    held.refresh_from_db()
    assert (held.end_reason, held.is_live_at(clock.now())) == ("left", False)
    seq = AuditEvent.objects.get(verb="directory.synced", seq=held.version).seq
    assert set(Credential.objects.filter(used_at=None).values_list("version", flat=True)) == {seq}


def test_signing_out_ends_it_in_one_event(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    redeem(gate, tickets.hand_over(cast.ada, served, DIGEST))
    redeem(gate, tickets.hand_over(cast.ben, served, DIGEST))
    waiting = tickets.hand_over(cast.ada, served, DIGEST)
    browser = Client(headers={"host": "127.0.0.1:8000"})
    browser.force_login(cast.ada)
    before = AuditEvent.objects.count()
    assert browser.post("/signout").status_code == 302
    assert sorted(sessions(gate)) == sorted([(cast.ada.pk, True), (cast.ben.pk, False)])
    assert redeem(gate, waiting) == []
    assert AuditEvent.objects.count() == before + 1
    event = AuditEvent.objects.latest("seq")
    assert event.verb == "subject.signed_out"
    assert set(
        Credential.objects.filter(subject=cast.ada, revoked_at__isnull=False).values_list("version", flat=True)
    ) == {event.seq}


def test_a_session_that_is_being_made_is_ended_too(cast: Cast, served: Connection) -> None:
    """The gate holds the ticket, its session is not committed yet: signing out waits for it and then sees it."""
    ticket = tickets.hand_over(cast.ada, served, DIGEST)
    with connect("stint_gate") as slow:
        assert redeem(slow, ticket)
        ended: list[list[Credential]] = []
        leaving = Thread(target=lambda: ended.append(_end(cast.ada)))
        leaving.start()
        with connect("superuser", autocommit=True) as watch:
            while not watch.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                assert leaving.is_alive()
        slow.commit()
        leaving.join()
    assert [one.kind for one in ended[0]] == ["gate_session"]
    assert Credential.objects.get(kind="gate_session").revoked_at


def _end(subject: Subject) -> list[Credential]:
    try:
        with transaction.atomic():
            ended = tickets.end_sessions(subject)
            record(Verb.SUBJECT_SIGNED_OUT, by=subject, on=ended)
            return ended
    finally:
        connection.close()


def test_who_leaves_is_out_there_and_nowhere_else(cast: Cast, served: Connection, gate: psycopg.Connection) -> None:
    mine, other = mint("gate_session"), mint("gate_session")
    for session in (mine, other):
        redeem(gate, tickets.hand_over(cast.ada, served, DIGEST), session=session)
    left = "SELECT gate_leave(%s)"
    assert gate.execute(left, [mine.digest]).fetchone() == (True,)
    row = Credential.objects.get(digest=mine.digest)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor, event.seq, row.revoked_at is None) == (
        "gate.left",
        cast.ada.ref,
        row.version,
        False,
    )
    assert gate.execute(left, [mine.digest]).fetchone() == (False,)  # once is enough
    ticket = read(tickets.hand_over(cast.ada, served, DIGEST), "ticket")
    assert gate.execute(left, [ticket]).fetchone() == (False,)  # no session
    assert sorted(revoked for _, revoked in sessions(gate)) == [False, True]
