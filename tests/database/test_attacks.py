"""Each right, constraint and trigger, attacked as the app role with SQL of the attacker's choice.

The ORM is left out on purpose: this is what a hole in our own code could send.
"""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

from grants.lifecycle.models import Grant, Request
from tests.cast import Cast
from tests.database.attacker import ILLEGAL_MOVE, UNSTAMPED, refused


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE grants_auditevent SET actor = 'S-1' WHERE seq = 1",
        "DELETE FROM grants_auditevent",
        "TRUNCATE grants_auditevent",
        "INSERT INTO grants_auditevent VALUES (99, now(), 'x', 'x', '', '', '')",
        "UPDATE grants_audithead SET seq = 0",
        "DELETE FROM grants_audithead",
        "TRUNCATE grants_audithead",
        "ALTER TABLE grants_auditevent DISABLE TRIGGER ALL",
        "DROP TRIGGER unchangeable ON grants_auditevent",
        "DROP INDEX auditevent_about",
        "ALTER FUNCTION audit_about(text, bytea) RENAME TO other",
        "SET session_replication_role = replica",
        "UPDATE grants_policyversion SET text = ''",
        "DELETE FROM grants_policyversion",
        "DELETE FROM grants_grant",
        "DELETE FROM grants_decision",
        "DELETE FROM grants_request",
        "DELETE FROM grants_requestitem",
        "DELETE FROM accounts_subject",
        "UPDATE grants_grant SET version = 0",
        "UPDATE accounts_subject SET version = 0",
        "UPDATE accounts_identity SET external_id = 'id-priya'",
        "UPDATE accounts_identity SET subject_id = 1",
        "UPDATE grants_request SET requester_id = beneficiary_id",
        "UPDATE grants_request SET stages = '[]'",
        "UPDATE grants_request SET duration = '1 year'",
        "UPDATE grants_request SET reason = ''",
        "UPDATE grants_requestitem SET level = 'admin'",
        "UPDATE grants_requestitem SET state = 'approved'",
        "UPDATE grants_decision SET approver_id = requester_id",
        "UPDATE grants_decision SET verdict = 'approve'",
        "UPDATE grants_grant SET ends_at = ends_at + interval '1 year'",
        "UPDATE grants_grant SET beneficiary_id = 1",
        "UPDATE grants_connection SET slug = 'other'",
        "UPDATE accounts_recoverycode SET expires_at = now() + interval '1 year'",
        "CREATE FUNCTION stint_now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
        "CREATE TABLE mine (a int)",
        "SET ROLE stint_owner",
        "DELETE FROM grants_rolebinding",
        "TRUNCATE grants_rolebinding",
        "UPDATE grants_rolebinding SET idp_id = 1",
        "UPDATE grants_rolebinding SET role = 'realm/admin'",
        "UPDATE grants_rolebinding SET external_id = 'id-oscar'",
        "ALTER TABLE grants_rolebinding DISABLE TRIGGER moves",
        "DROP FUNCTION grants_rolebinding_moves() CASCADE",
    ],
)
def test_app_has_no_right(app: psycopg.Connection, sql: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(sql)


GRANT = """INSERT INTO grants_grant (request_id, asked, beneficiary_id, resource_id, level, starts_at, ends_at, drain_until)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""


@pytest.mark.parametrize(
    "change",
    [
        "not approved",
        "another person",
        "another resource",
        "another level",
        "longer",
        "asked forged",
        "backwards",
        "drains",
        "again",
    ],
)
def test_only_what_was_asked_and_approved(
    app: psycopg.Connection, story: tuple[Cast, Request, Grant], change: str
) -> None:
    cast, request, grant = story
    start, asked = grant.starts_at, grant.asked
    row: dict[str, object] = {
        "request": grant.request_id, "asked": asked, "who": cast.ada.pk, "what": cast.deployment.pk, "level": "operate",
        "from": start, "to": start + asked, "drain": start + asked,
    }  # fmt: skip
    year = timedelta(days=365)
    row |= {
        "not approved": {"request": request.pk, "level": "run"},
        "another person": {"who": cast.oscar.pk},
        "another resource": {"what": cast.server.pk},
        "another level": {"level": "manage"},
        "longer": {"to": start + year, "drain": start + year},
        "asked forged": {"asked": year, "to": start + year, "drain": start + year},
        "backwards": {"to": start, "drain": start},
        "drains": {"drain": start + year},
        "again": {},
    }[change]
    refused(app, GRANT, *row.values())


def test_a_grant_only_ends_earlier(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, _, grant = story
    with app.transaction():
        app.execute(
            "UPDATE grants_grant SET ended_at = now(), closed_at = now(), end_reason = 'revoked' WHERE id = %s",
            [grant.pk],
        )
        app.execute(
            "SELECT audit_append('grant.revoked', 't', '{}', ARRAY[%s]::bigint[], '{}', '{}', '{}')",
            [grant.pk],
        )
    for change in (
        "ended_at = NULL",
        "ended_at = ends_at",
        "closed_at = NULL, end_reason = NULL",
        "end_reason = 'elapsed'",
        "closed_at = now()",
    ):
        refused(app, f"UPDATE grants_grant SET {change} WHERE id = %s", grant.pk, state=ILLEGAL_MOVE)


@pytest.mark.parametrize(
    "change",
    ["ended_at = ends_at + interval '1 s'", "closed_at = now()", "end_reason = 'revoked'",
     "closed_at = now(), end_reason = 'nonsense'"],
)  # fmt: skip
def test_the_end_of_a_grant_agrees_with_itself(
    app: psycopg.Connection, story: tuple[Cast, Request, Grant], change: str
) -> None:
    _, _, grant = story
    refused(app, f"UPDATE grants_grant SET {change} WHERE id = %s", grant.pk)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE grants_grant SET ended_at = now(), closed_at = now(), end_reason = 'revoked'",
        "UPDATE grants_resource SET retired_at = now()",
        "UPDATE grants_resource SET name = 'other'",
        "UPDATE grants_connection SET url = 'http://evil/api'",
        "UPDATE accounts_subject SET active = false",
        "INSERT INTO accounts_subject (name, kind) VALUES ('Eve', 'person')",
        "DELETE FROM accounts_membership",
        """INSERT INTO accounts_membership (team_id, subject_id, source)
        SELECT t.id, s.id, 'portal' FROM accounts_team t, accounts_subject s WHERE s.name = 'Oscar' AND t.slug = 'platform'""",
    ],
)
def test_what_the_gate_reads_changes_only_with_an_event(
    app: psycopg.Connection, story: tuple[Cast, Request, Grant], sql: str
) -> None:
    refused(app, sql, state=UNSTAMPED)
    # Nor with an event of another transaction, or one about another row.
    app.execute("SELECT audit_append('x', 't', '{}', '{}', '{}', '{}', '{}')")
    with pytest.raises(errors.DatabaseError), app.transaction():
        app.execute(sql)
        app.execute("SELECT audit_append('x', 't', '{}', '{}', '{}', '{}', '{}')")


def test_other_unique_rows(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    refused(
        app,
        "INSERT INTO accounts_idp (slug, kind, issuer, client_id, error) SELECT slug, kind, 'i2', client_id, '' FROM accounts_idp",
    )
    refused(
        app,
        "INSERT INTO accounts_idp (slug, kind, issuer, client_id, error) SELECT 'other', kind, issuer, client_id, '' FROM accounts_idp",
    )
    refused(
        app,
        "INSERT INTO accounts_identity (subject_id, idp_id, external_id) SELECT %s, idp_id, external_id FROM accounts_identity WHERE subject_id = %s",
        cast.oscar.pk,
        cast.ada.pk,
    )
    refused(
        app,
        "INSERT INTO accounts_identity (subject_id, idp_id, external_id) SELECT subject_id, idp_id, 'second' FROM accounts_identity WHERE subject_id = %s",
        cast.ada.pk,
    )
    refused(app, "INSERT INTO accounts_team (slug) VALUES ('platform')")
    refused(
        app,
        "INSERT INTO accounts_portalrole (subject_id, role, source) SELECT subject_id, role, source FROM accounts_portalrole",
    )
    refused(
        app,
        "INSERT INTO grants_resource (connection_id, kind, remote_id, name, seen_at) SELECT connection_id, kind, remote_id, 'namesake', now() FROM grants_resource WHERE id = %s",
        cast.pool.pk,
    )
    refused(
        app,
        "INSERT INTO grants_resource (connection_id, kind, remote_id, name, seen_at) SELECT connection_id, 'nonsense', 'x', 'x', now() FROM grants_resource WHERE id = %s",
        cast.pool.pk,
    )
    refused(app, "INSERT INTO accounts_subject (name, kind) VALUES ('machine', 'service')")
    refused(
        app,
        """INSERT INTO grants_request (requester_id, beneficiary_id, state, stages, policy_version_id, reason, asked_at,
        lapses_at, duration, idempotency_key) SELECT requester_id, beneficiary_id, 'pending', stages, policy_version_id,
        reason, now(), now(), duration, idempotency_key FROM grants_request WHERE id = %s""",
        request.pk,
    )
    refused(
        app,
        """INSERT INTO grants_request (requester_id, beneficiary_id, state, stages, policy_version_id, reason, asked_at,
        lapses_at, duration, idempotency_key) SELECT requester_id, beneficiary_id, 'pending', stages, policy_version_id,
        reason, now(), now(), '0', 'k2' FROM grants_request WHERE id = %s""",
        request.pk,
    )
