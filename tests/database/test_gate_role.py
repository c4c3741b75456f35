"""What the gate's role may do in the database, which is next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from accounts import service_identities
from grants import clock
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.due import ProcessBeat
from grants.lifecycle import access
from grants.lifecycle.models import Grant
from grants.tokens import issue, tickets
from grants.tokens.models import Credential, GateUsage
from tests.cast import Cast
from tests.conftest import connect
from tests.tokens.scene import working

NO_EVENT = "ST005"

pytestmark = pytest.mark.usefixtures("commits")

type At = Callable[[datetime | timedelta | None], datetime]


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
