"""Credentials, attacked as the app role; and what the gate role may do, which is next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from accounts import service_identities
from grants import clock
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.due import ProcessBeat
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue, tickets
from grants.tokens.mint import mint
from grants.tokens.models import Credential, GateUsage
from tests.cast import Cast
from tests.conftest import connect
from tests.database.test_attacks import ILLEGAL_MOVE, refused
from tests.tokens.scene import working

UNSTAMPED = "ST004"
NO_EVENT = "ST005"

pytestmark = pytest.mark.usefixtures("commits")

type At = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture
def app() -> Iterator[psycopg.Connection]:
    with connect("stint_app", autocommit=True) as connection:
        yield connection


@pytest.fixture
def gate() -> Iterator[psycopg.Connection]:
    with connect("stint_gate", autocommit=True) as connection:
        yield connection


@pytest.fixture
def grant(cast: Cast) -> Grant:
    return decide.approve(cast.asks(minutes=120), by=cast.chiara).grants.get()


@pytest.fixture
def token(cast: Cast, grant: Grant) -> Credential:
    return issue.issue(grant, by=cast.ada).credential


COLUMNS = (
    "kind, key_id, digest, subject_id, connection_id, grant_id, grant_until, issued_at, expires_at, nonce_digest,"
    " session_until, used_at, revoked_at"
)


def insert(app: psycopg.Connection, row: dict[str, object]) -> None:
    """The row and its event in one transaction, so that only what is wrong with the row can be why it fails."""
    marks = ", ".join(["%s"] * len(row))
    with app.transaction():
        (pk,) = app.execute(
            f"INSERT INTO grants_credential ({COLUMNS}) VALUES ({marks}) RETURNING id", list(row.values())
        ).fetchone()  # type: ignore[misc]
        app.execute("SELECT audit_append('token.issued', 't', '{}', '{}', '{}', '{}', '{}', ARRAY[%s]::bigint[])", [pk])


def row_of(cast: Cast, grant: Grant, changes: dict[str, object]) -> dict[str, object]:
    minted, now = mint("token"), clock.now()
    row: dict[str, object] = {
        "kind": "token", "key_id": minted.key_id, "digest": minted.digest, "subject": cast.ada.pk,
        "connection": cast.connection.pk, "grant": grant.pk, "grant_until": grant.drain_until,
        "issued_at": now, "expires_at": now + timedelta(hours=1),
        "nonce": None, "session_until": None, "used_at": None, "revoked_at": None,
    }  # fmt: skip
    return row | changes


def another_connection(app: psycopg.Connection) -> int:
    with app.transaction():
        row = app.execute(
            "INSERT INTO grants_connection (slug, kind, url, environment, secret_ref)"
            " VALUES ('other', 'prefect', 'http://o/api', 'x', '') RETURNING id"
        ).fetchone() or (0,)
        app.execute("SELECT audit_append('x', 't', '{}', '{}', '{}', '{}', ARRAY[%s]::bigint[])", row)
    return int(row[0])


YEAR = timedelta(days=365)
NO_GRANT: dict[str, object] = {"grant": None, "grant_until": None}


def ticket_at(now: datetime) -> dict[str, object]:
    times = {"expires_at": now + timedelta(seconds=29), "session_until": now + timedelta(hours=1)}
    return {"kind": "ticket", "nonce": bytes(32), **times, **NO_GRANT}


def test_a_good_row_is_taken(app: psycopg.Connection, cast: Cast, grant: Grant) -> None:
    """Else the refusals below would prove nothing."""
    insert(app, row_of(cast, grant, {}))
    now = clock.now()
    insert(app, row_of(cast, grant, {"kind": "gate_session"} | NO_GRANT))
    insert(app, row_of(cast, grant, ticket_at(now)))


@pytest.mark.parametrize(
    "change",
    [
        "of another's grant", "for another", "without a grant", "half a grant", "another's end", "past its grant",
        "until forged", "short digest", "no digest", "odd key", "another connection", "used", "revoked", "from tomorrow", "backwards",
        "a nonce", "session with a grant", "session of a year", "ticket of a minute", "ticket without a nonce",
        "ticket with a short nonce", "ticket without an end", "a kind of its own",
    ],
)  # fmt: skip
def test_what_is_no_credential(app: psycopg.Connection, cast: Cast, grant: Grant, change: str) -> None:
    other = decide.approve(cast.asks(cast.ben), by=cast.chiara).grants.get()
    now = clock.now()
    elsewhere = another_connection(app)
    ticket = ticket_at(now)
    bad: dict[str, dict[str, object]] = {
        "of another's grant": {"grant": other.pk, "grant_until": other.drain_until,
                               "expires_at": now + timedelta(minutes=5)},
        "for another": {"subject": cast.oscar.pk},
        "without a grant": NO_GRANT,
        "half a grant": {"grant_until": None, "expires_at": now + YEAR},
        "another's end": {"grant_until": other.drain_until, "expires_at": now + timedelta(minutes=5)},
        "past its grant": {"expires_at": grant.drain_until + timedelta(seconds=1)},
        "until forged": {"grant_until": now + YEAR, "expires_at": now + YEAR},
        "short digest": {"digest": b"x" * 31},
        "no digest": {"digest": None},
        "odd key": {"key_id": "<script>alert(1)"},
        "another connection": {"connection": elsewhere},
        "used": {"used_at": now},
        "revoked": {"revoked_at": now},
        "from tomorrow": {"issued_at": now + timedelta(minutes=10)},
        "backwards": {"expires_at": now},
        "a nonce": {"nonce": bytes(32)},
        "session with a grant": {"kind": "gate_session"},
        "session of a year": {"kind": "gate_session", **NO_GRANT, "expires_at": now + YEAR},
        "ticket of a minute": ticket | {"expires_at": now + timedelta(minutes=1)},
        "ticket without a nonce": ticket | {"nonce": None},
        "ticket with a short nonce": ticket | {"nonce": b"x"},
        "ticket without an end": ticket | {"session_until": None},
        "a kind of its own": {"kind": "admin", **NO_GRANT},
    }  # fmt: skip
    with pytest.raises(psycopg.Error) as caught:
        insert(app, row_of(cast, grant, bad[change]))
    assert isinstance(caught.value, errors.IntegrityError) or caught.value.sqlstate == ILLEGAL_MOVE, caught.value


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE grants_credential SET digest = sha256('mine')",
        "UPDATE grants_credential SET expires_at = expires_at + interval '1 minute'",
        "UPDATE grants_credential SET subject_id = 1",
        "UPDATE grants_credential SET grant_id = NULL, grant_until = NULL",
        "UPDATE grants_credential SET kind = 'gate_session'",
        "UPDATE grants_credential SET used_at = NULL",
        "UPDATE grants_credential SET version = 0",
        "DELETE FROM grants_credential",
        "TRUNCATE grants_credential CASCADE",
        "INSERT INTO grants_gateusage (minute, gate, route, code, credential_id, n) VALUES (now(), 'g', 'r', 'ok', 1, 1)",
        "UPDATE grants_gateusage SET n = 0",
        "DELETE FROM grants_gateusage",
        "SELECT * FROM gate_redeem('', '', '', '')",
        "SELECT gate_leave('')",
        "SELECT gate_append('refused', '{}')",
        "SELECT gate_use('[]')",
        "SELECT gate_beat('g', '0', true)",
        "SELECT * FROM gate_credentials",
    ],
)
def test_app_has_no_right(app: psycopg.Connection, sql: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(sql)


def test_revoked_is_for_ever(app: psycopg.Connection, cast: Cast, token: Credential) -> None:
    issue.revoke(token, by=cast.ada)
    for value in ("NULL", "now() + interval '1 year'", "now()"):
        refused(app, f"UPDATE grants_credential SET revoked_at = {value}", state=ILLEGAL_MOVE)


def test_used_is_for_ever(cast: Cast, grant: Grant) -> None:
    """The app cannot write it; a hole in a function of the owner's could."""
    cast.connection.host = "prefect.example.org"
    tickets.hand_over(cast.ada, cast.connection, bytes(32))
    with connect("stint_owner") as owner:
        stamp = (
            "SELECT audit_append('x', 't', '{}', '{}', '{}', '{}', '{}', (SELECT array_agg(id) FROM grants_credential))"
        )
        owner.execute("UPDATE grants_credential SET used_at = now()")
        owner.execute(stamp)
        owner.commit()
        with pytest.raises(psycopg.Error) as caught:
            owner.execute("UPDATE grants_credential SET used_at = NULL")
        assert caught.value.sqlstate == ILLEGAL_MOVE


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE grants_credential SET revoked_at = now()",
        f"INSERT INTO grants_credential ({COLUMNS}) SELECT kind, '{'A' * 16}', sha256('x'), {COLUMNS.partition('digest,')[2]} FROM grants_credential",
        "UPDATE grants_connection SET host = 'evil.example.org'",
    ],
)
def test_what_the_gate_reads_changes_only_with_an_event(app: psycopg.Connection, token: Credential, sql: str) -> None:
    refused(app, sql, state=UNSTAMPED)


def test_a_host_is_one_connection(app: psycopg.Connection, cast: Cast) -> None:
    new = (
        "INSERT INTO grants_connection (slug, kind, url, environment, secret_ref, host)"
        " VALUES (%s, 'prefect', 'http://p', 'x', '', %s) RETURNING id"
    )
    for slug, host in (("a", ""), ("b", ""), ("c", "h")):
        with app.transaction():
            row = app.execute(new, [slug, host]).fetchone()
            app.execute("SELECT audit_append('x','t','{}','{}','{}','{}', ARRAY[%s]::bigint[])", row)
    refused(app, new, "d", "h")


# The gate's role.


def test_the_gate_has_the_rights_that_are_listed_and_no_other() -> None:
    with connect("superuser") as superuser:
        relations = superuser.execute(
            "SELECT table_name, privilege_type FROM information_schema.table_privileges"
            " WHERE grantee IN ('stint_gate', 'PUBLIC') AND table_schema = 'public' AND table_name <> 'stint_clock'"
        ).fetchall()
        columns = superuser.execute(
            "SELECT DISTINCT table_name FROM information_schema.column_privileges"
            " WHERE grantee IN ('stint_gate', 'PUBLIC') AND table_schema = 'public' AND table_name <> 'stint_clock'"
        ).fetchall()
        functions = superuser.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
            " AND has_function_privilege('stint_gate', p.oid, 'EXECUTE')"
        ).fetchall()
        open_sesame = superuser.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND NOT coalesce(proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)"
        ).fetchall()
    views = {f"gate_{name}" for name in ("head", "connections", "resources", "subjects", "grants", "credentials")}
    assert set(relations) == {(view, "SELECT") for view in views}
    assert {name for (name,) in columns} == views
    assert {name for (name,) in functions} == {
        "stint_now()",
        "gate_append(text,bytea)",
        "gate_beat(text,text,boolean)",
        "gate_continues(bigint,bytea)",
        "gate_leave(bytea)",
        "gate_redeem(bytea,bytea,text,bytea)",
        "gate_use(jsonb)",
    }
    assert open_sesame == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM grants_grant",
        "SELECT digest FROM grants_credential",
        "SELECT * FROM grants_auditevent",
        "SELECT * FROM accounts_subject",
        "SELECT * FROM django_session",
        "SELECT * FROM grants_gateusage",
        "UPDATE gate_grants SET until = now() + interval '1 year'",
        "UPDATE gate_connections SET url = 'http://evil'",
        "UPDATE gate_credentials SET expires_at = now()",
        "DELETE FROM gate_credentials",
        "INSERT INTO gate_subjects VALUES (99, 'person', true, 0)",
        "SELECT audit_append('grant.revoked', 'S-1', '{}', ARRAY[1]::bigint[], '{}', '{}', '{}', '{}')",
        "SET ROLE stint_owner",
        "CREATE TABLE mine (a int)",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    ],
)
def test_the_gate_reads_views_and_writes_nothing(gate: psycopg.Connection, sql: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
        gate.execute(sql)


def test_the_gate_sees_digests_and_no_tickets(cast: Cast, gate: psycopg.Connection, token: Credential) -> None:
    cast.connection.host = "prefect.example.org"
    tickets.hand_over(cast.ada, cast.connection, bytes(32))
    token.refresh_from_db()
    assert gate.execute("SELECT * FROM gate_credentials").fetchall() == [
        (token.pk, "token", bytes(token.digest), cast.ada.pk, cast.connection.pk, token.grant_id, token.expires_at, False,
         token.version)
    ]  # fmt: skip


def test_the_gate_sees_a_change_by_its_version(cast: Cast, gate: psycopg.Connection, token: Credential) -> None:
    (before,) = gate.execute("SELECT seq FROM gate_head").fetchone() or (0,)
    delta = "SELECT id, revoked FROM gate_credentials WHERE version > %s"
    assert gate.execute(delta, [before]).fetchall() == []
    issue.revoke(token, by=cast.ada)
    assert gate.execute(delta, [before]).fetchall() == [(token.pk, True)]


@pytest.mark.parametrize("end", ["on time", "given back", "revoked", "switched off", "left"])
def test_how_long_the_gate_lets_work_drain(cast: Cast, gate: psycopg.Connection, at: At, end: str) -> None:
    grant = working(cast, minutes=60)
    now = at(timedelta(minutes=10))
    if end == "given back":
        access.give_back(grant, by=cast.ada)
    if end == "revoked":
        access.revoke(grant, by=cast.chiara)
    if end in ("switched off", "left"):
        service_identities.switch_off(grant.beneficiary, by=cast.ada)
    if end == "left":
        access.close_left()
    row = gate.execute("SELECT until, drain_until FROM gate_grants WHERE id = %s", [grant.pk]).fetchone()
    assert (
        row
        == {
            "on time": (grant.ends_at, grant.ends_at + timedelta(minutes=20)),
            "given back": (now, now + timedelta(minutes=20)),
            "revoked": (now, now),
            "switched off": (grant.ends_at, grant.ends_at),
            "left": (now, now),
        }[end]
    )
    grant.refresh_from_db()
    if end != "switched off":  # pages have it from the same columns
        assert row == (grant.over_at, grant.drained_at)


@pytest.mark.parametrize(
    "verb", ["entered", "Refused", "", "x.y", "refused'", "grant.revoked", "../grant", "a" * 50, " refused"]
)
def test_the_gate_forges_no_event(gate: psycopg.Connection, verb: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        gate.execute("SELECT gate_append(%s, '{}')", [verb])
    assert caught.value.sqlstate == NO_EVENT


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b"\xff", b'{"a":"' + b"x" * 9000 + b'"}'])
def test_an_event_of_the_gate_is_an_object(gate: psycopg.Connection, payload: bytes) -> None:
    with pytest.raises(psycopg.Error):
        gate.execute("SELECT gate_append('refused', %s)", [payload])


def test_an_event_of_the_gate_stamps_nothing(gate: psycopg.Connection, grant: Grant) -> None:
    grant.refresh_from_db()
    payload = json.dumps({"grant": grant.pk}).encode()
    (seq,) = gate.execute("SELECT gate_append('run_started', %s)", [payload]).fetchone() or (0,)
    event = AuditEvent.objects.get(seq=seq)
    assert (event.verb, event.actor, bytes(event.payload)) == ("gate.run_started", "gate", payload)
    version = grant.version
    grant.refresh_from_db()
    assert grant.version == version
    assert verify().whole


def test_use_is_added_up(gate: psycopg.Connection, token: Credential) -> None:
    def row(route: str, code: str, n: int, **more: object) -> dict[str, object]:
        at = "2026-11-24T12:00:31Z"
        return {"minute": at, "gate": "g1", "credential_id": token.pk, "route": route, "code": code, "n": n, **more}

    batch = [row("GET /api/flows", "ok", 2), row("GET /api/flows", "ok", 3), row("GET /api/flows", "no_grant", 1),
             row("GET /api/flows", "ok", 7, gate="g2"), row("GET /api/flows", "ok", 9, credential_id=token.pk + 1)]  # fmt: skip
    for counted in (3, 3):
        assert gate.execute("SELECT gate_use(%s)", [json.dumps(batch)]).fetchone() == (counted,)
    assert set(GateUsage.objects.values_list("gate", "code", "n")) == {
        ("g1", "ok", 10),
        ("g1", "no_grant", 2),
        ("g2", "ok", 14),
    }
    assert {one.minute.second for one in GateUsage.objects.all()} == {0}


@pytest.mark.parametrize(
    "bad",
    [{"n": 0}, {"n": -5}, {"n": None}, {"route": "x" * 201}, {"route": None}, {"code": "x" * 41}, {"minute": None},
     {"minute": "soon"}, {"minute": "infinity"}, {"minute": "-infinity"}, {"minute": "20000-01-01"}],
    ids=str,
)  # fmt: skip
def test_what_counts_nothing(gate: psycopg.Connection, token: Credential, bad: dict[str, object]) -> None:
    row = {"minute": "2026-11-24T12:00:00Z", "gate": "g", "credential_id": token.pk, "route": "r", "code": "ok", "n": 1}
    with pytest.raises(psycopg.DatabaseError):
        gate.execute("SELECT gate_use(%s)", [json.dumps([row | bad])])


def test_a_gate_tells_that_it_is_there_and_no_more(gate: psycopg.Connection, at: Callable[..., datetime]) -> None:
    """As a gate, never as a worker; and who has its rights fills no table."""

    def beat(name: str, version: str = "0.1.0", *, alive: bool = True) -> bool:
        row = gate.execute("SELECT gate_beat(%s, %s, %s)", [name, version, alive]).fetchone()
        assert row
        return bool(row[0])

    ProcessBeat.objects.create(name="worker here:1", at=clock.now(), version="0")
    first = at(datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert beat("one", "0.1.0")
    assert beat("worker here:1")
    later = at(timedelta(seconds=10))
    assert beat("one", "0.2.0")
    told = dict(ProcessBeat.objects.filter(name__startswith="gate ").values_list("name", "at"))
    assert told == {"gate one": later, "gate worker here:1": first}
    assert ProcessBeat.objects.get(name="gate one").version == "0.2.0"
    assert beat("x" * 10_000, "y" * 10_000)
    assert beat("one", alive=False)
    assert not ProcessBeat.objects.filter(name="gate one").exists()

    assert sum(beat(f"made up {n}") for n in range(150)) == 98
    assert beat("made up 7"), "who was there goes on"
    at(timedelta(days=1, seconds=1))
    assert beat("of the next day")
    assert set(ProcessBeat.objects.values_list("name", flat=True)) == {"gate of the next day", "worker here:1"}
