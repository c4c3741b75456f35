"""Credentials, attacked as the app role."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from grants import clock
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.tokens import issue, tickets
from grants.tokens.mint import mint
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.conftest import connect
from tests.database.attacker import ILLEGAL_MOVE, UNSTAMPED, refused

pytestmark = pytest.mark.usefixtures("commits")

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
