"""Each constraint and trigger, attacked as the app role with SQL of the attacker's choice.

The ORM is left out on purpose: this is what a hole in our own code could send.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

from grants.lifecycle import decide
from grants.lifecycle.models import Grant, Request
from tests.cast import Cast
from tests.conftest import connect

ILLEGAL_MOVE = "ST003"
REFUSED = (errors.InsufficientPrivilege, errors.IntegrityError, errors.RaiseException, errors.DatabaseError)


@pytest.fixture
def app(commits: None) -> Iterator[psycopg.Connection]:
    with connect("stint_app", autocommit=True) as connection:
        yield connection


@pytest.fixture
def story(commits: None, cast: Cast) -> tuple[Cast, Request, Grant]:
    """A pending request R (deployment) and a live grant of another (operate)."""
    approved = decide.approve(cast.asks(cast.ada, (cast.deployment, "operate")), by=cast.chiara)
    return cast, cast.asks(), approved.grants.get()


def refused(app: psycopg.Connection, sql: str, *params: object, state: str | None = None) -> None:
    """The statement, and its commit, must fail; `state` is the SQLSTATE when one of ours is meant."""
    with pytest.raises(psycopg.Error) as caught:
        app.execute(sql, params)
    if state:
        assert caught.value.sqlstate == state, caught.value
    else:
        assert isinstance(caught.value, errors.InsufficientPrivilege | errors.IntegrityError), caught.value


VOTE = """INSERT INTO grants_decision (request_id, requester_id, beneficiary_id, stage, approver_id, for_id, verdict, note,
    policy_version_id, superseded, at) VALUES (%s, %s, %s, %s, %s, %s, %s, '', %s, false, now())"""


def vote(cast: Cast, request: Request, approver: int, *, for_id: int | None = None, verdict: str = "approve",
         requester: int | None = None, stage: int = 0) -> tuple[str, *tuple[object, ...]]:  # fmt: skip
    return (
        VOTE,
        request.pk,
        requester or request.requester_id,
        request.beneficiary_id,
        stage,
        approver,
        for_id,
        verdict,
        cast.policy.pk,
    )


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


def test_a_request_is_born_pending(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, request, _ = story
    refused(
        app,
        """INSERT INTO grants_request (requester_id, beneficiary_id, state, stages, policy_version_id, reason, asked_at,
        lapses_at, duration, idempotency_key, closed_at)
        SELECT requester_id, beneficiary_id, 'approved', '[]', policy_version_id, reason, now(), now(), duration, 'k', now()
        FROM grants_request WHERE id = %s""",
        request.pk,
        state=ILLEGAL_MOVE,
    )


@pytest.mark.parametrize("stages", ["null", "{}", '[{"from": []}]', '[{"need": 0}]', '[{"need": -1}]'])
def test_stages_that_need_nothing_are_not_met(
    app: psycopg.Connection, story: tuple[Cast, Request, Grant], stages: str
) -> None:
    _, request, _ = story
    (pk,) = app.execute(
        """INSERT INTO grants_request (requester_id, beneficiary_id, state, stages, policy_version_id, reason, asked_at,
        lapses_at, duration, idempotency_key)
        SELECT requester_id, beneficiary_id, 'pending', %s::jsonb, policy_version_id, reason, now(), now(), duration, 'k'
        FROM grants_request WHERE id = %s RETURNING id""",
        [stages, request.pk],
    ).fetchone()  # type: ignore[misc]
    refused(
        app,
        "UPDATE grants_request SET state = 'approved', closed_at = now() WHERE id = %s",
        pk,
        state=ILLEGAL_MOVE,
    )


def test_no_approval_without_votes(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, request, _ = story
    refused(
        app,
        "UPDATE grants_request SET state = 'approved', closed_at = now() WHERE id = %s",
        request.pk,
        state=ILLEGAL_MOVE,
    )


def test_no_approval_against_a_denial(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    sql, *params = vote(cast, request, cast.chiara.pk)
    app.execute(sql, params)
    sql, *params = vote(cast, request, cast.tomasz.pk, verdict="deny")
    app.execute(sql, params)
    refused(
        app,
        "UPDATE grants_request SET state = 'approved', closed_at = now() WHERE id = %s",
        request.pk,
        state=ILLEGAL_MOVE,
    )


def test_a_superseded_vote_does_not_count(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    sql, *params = vote(cast, request, cast.chiara.pk)
    app.execute(sql, params)
    app.execute("UPDATE grants_decision SET superseded = true WHERE request_id = %s", [request.pk])
    refused(
        app,
        "UPDATE grants_request SET state = 'approved', closed_at = now() WHERE id = %s",
        request.pk,
        state=ILLEGAL_MOVE,
    )
    refused(
        app,
        "UPDATE grants_decision SET superseded = false WHERE request_id = %s",
        request.pk,
        state=ILLEGAL_MOVE,
    )


def test_pending_is_left_once(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, request, grant = story
    app.execute("UPDATE grants_request SET state = 'withdrawn', closed_at = now() WHERE id = %s", [request.pk])
    for state in ("pending", "approved", "denied"):
        closed = None if state == "pending" else "2026-01-01"
        refused(
            app,
            "UPDATE grants_request SET state = %s, closed_at = %s WHERE id = %s",
            state,
            closed,
            request.pk,
            state=ILLEGAL_MOVE,
        )
    # Un-approving under a grant.
    refused(app, "UPDATE grants_request SET state = 'denied' WHERE id = %s", grant.request_id, state=ILLEGAL_MOVE)


def test_pending_and_closed_at_agree(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, request, _ = story
    refused(app, "UPDATE grants_request SET closed_at = now() WHERE id = %s", request.pk)
    refused(app, "UPDATE grants_request SET state = 'denied' WHERE id = %s", request.pk)


def test_self_approval(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    refused(app, *vote(cast, request, cast.ada.pk))
    refused(app, *vote(cast, request, cast.chiara.pk, for_id=cast.ada.pk))


def test_who_asked_cannot_be_forged(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    refused(app, *vote(cast, request, cast.ada.pk, requester=cast.ben.pk))


def test_a_person_counts_once(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    sql, *params = vote(cast, request, cast.chiara.pk)
    app.execute(sql, params)
    refused(app, *vote(cast, request, cast.chiara.pk))
    refused(app, *vote(cast, request, cast.chiara.pk, stage=1))
    refused(app, *vote(cast, request, cast.tomasz.pk, for_id=cast.chiara.pk))
    refused(app, *vote(cast, request, cast.chiara.pk, for_id=cast.tomasz.pk))


def test_votes_queue_on_the_request(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    """Without our own code's lock: a second vote waits for the first, so that the last one sees all."""
    cast, request, _ = story
    sql, *first = vote(cast, request, cast.chiara.pk)
    _, *second = vote(cast, request, cast.tomasz.pk)
    with connect("stint_app") as other:
        other.execute(sql, first)
        app.execute("SET lock_timeout = '200ms'")
        with pytest.raises(errors.LockNotAvailable):
            app.execute(sql, second)


def test_no_vote_after_the_end(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, _, grant = story
    refused(app, *vote(cast, grant.request, cast.tomasz.pk), state=ILLEGAL_MOVE)


def test_votes_stand_after_the_end(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    _, _, grant = story
    refused(
        app,
        "UPDATE grants_decision SET superseded = true WHERE request_id = %s",
        grant.request_id,
        state=ILLEGAL_MOVE,
    )


@pytest.mark.parametrize("when", ["after a vote", "after approval"])
def test_no_item_after_a_decision(app: psycopg.Connection, story: tuple[Cast, Request, Grant], when: str) -> None:
    cast, request, grant = story
    if when == "after a vote":
        sql, *params = vote(cast, request, cast.chiara.pk)
        app.execute(sql, params)
    target = request if when == "after a vote" else grant.request
    for state in ("pending", "approved"):
        refused(
            app,
            "INSERT INTO grants_requestitem (request_id, beneficiary_id, resource_id, level, state) VALUES (%s, %s, %s, 'admin', %s)",
            target.pk, cast.ada.pk, cast.server.pk, state,
            state=ILLEGAL_MOVE,
        )  # fmt: skip


def test_one_pending_ask_for_one_thing(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, _, _ = story
    other = cast.asks(cast.ada, (cast.deployment, "view"))
    refused(
        app,
        "INSERT INTO grants_requestitem (request_id, beneficiary_id, resource_id, level, state) VALUES (%s, %s, %s, 'run', 'pending')",
        other.pk, cast.ada.pk, cast.deployment.pk,
    )  # fmt: skip


def test_an_item_is_for_who_the_request_is_for(app: psycopg.Connection, story: tuple[Cast, Request, Grant]) -> None:
    cast, request, _ = story
    refused(
        app,
        "INSERT INTO grants_requestitem (request_id, beneficiary_id, resource_id, level, state) VALUES (%s, %s, %s, 'view', 'pending')",
        request.pk, cast.ben.pk, cast.pool.pk,
    )  # fmt: skip


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
    refused(app, sql, state="ST004")
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


@pytest.fixture
def given(story: tuple[Cast, Request, Grant], app: psycopg.Connection) -> int:
    """A binding whose role was not there before, and is given now."""
    cast, _, _ = story
    (pk,) = app.execute(
        "INSERT INTO grants_rolebinding (idp_id, external_id, role) VALUES (%s, 'id-ada', 'r') RETURNING id",
        [cast.idp.pk],
    ).fetchone() or (0,)
    app.execute("UPDATE grants_rolebinding SET phase = 'adding', found_before = false WHERE id = %s", [pk])
    app.execute("UPDATE grants_rolebinding SET phase = 'present' WHERE id = %s", [pk])
    return int(pk)


@pytest.mark.parametrize(
    "change",
    [
        "phase = 'absent'",  # taken back without an intent
        "phase = 'adding'",
        "phase = 'kept'",  # of a role that Stint gave
        "phase = 'lost'",
        "found_before = true",  # judged again, so that it would never be taken back
        "found_before = NULL",
        "phase = 'removing', found_before = NULL",
        "generation = -1",
        "lease = '00000000-0000-0000-0000-000000000000'",  # for ever
    ],
)
def test_a_binding_only_moves_as_it_may(app: psycopg.Connection, given: int, change: str) -> None:
    with pytest.raises(psycopg.Error):
        app.execute(f"UPDATE grants_rolebinding SET {change} WHERE id = {given}")
    refused(app, f"DELETE FROM grants_rolebinding WHERE id = {given}")
    refused(app, f"UPDATE grants_rolebinding SET role = 'another' WHERE id = {given}")
    refused(app, f"UPDATE grants_rolebinding SET external_id = 'id-ben' WHERE id = {given}")


PHASES = ("absent", "adding", "present", "removing", "kept")
MOVES = {  # MODEL §2
    ("absent", "adding"), ("adding", "present"), ("adding", "removing"), ("adding", "kept"), ("present", "removing"),
    ("present", "kept"), ("kept", "present"), ("kept", "absent"), ("removing", "absent"), ("removing", "adding"),
}  # fmt: skip


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("phase", PHASES)
def test_every_other_move_of_a_binding_is_refused(
    story: tuple[Cast, Request, Grant], app: psycopg.Connection, phase: str, *, found: bool
) -> None:
    if (phase, found) in (("removing", True), ("kept", False)):
        return  # cannot be: test_a_binding_only_moves_as_it_may
    # As superuser, past the triggers: any phase, as if a hole had led there.
    with connect("superuser", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(
            "INSERT INTO grants_rolebinding (idp_id, external_id, role, phase, found_before, generation)"
            " VALUES (%s, 'id-ben', 'r', %s, %s, 7)",
            [story[0].idp.pk, phase, found],
        )
    for to in PHASES:
        legal = to == phase or ((phase, to) in MOVES and (to, found) not in (("removing", True), ("kept", False)))
        sql = f"UPDATE grants_rolebinding SET phase = '{to}'"
        if (phase, to) == ("kept", "absent"):
            for judged in ("true", "false"):
                with pytest.raises(psycopg.Error, match="forgotten"):
                    app.execute(f"{sql}, found_before = {judged}")
            sql += ", found_before = NULL"
        if legal:
            with app.transaction(force_rollback=True):
                app.execute(sql)
        else:
            with pytest.raises(psycopg.Error) as caught:
                app.execute(sql)
            assert caught.value.sqlstate in (ILLEGAL_MOVE, "23514"), (phase, to)
        if phase != "absent" and (phase, to) != ("kept", "absent"):
            with pytest.raises(psycopg.Error):
                app.execute(f"{sql}, found_before = {not found}")  # judged again on the way
    with pytest.raises(psycopg.Error):
        app.execute("UPDATE grants_rolebinding SET generation = 6")


@pytest.mark.parametrize("born", ["'present', false", "'absent', true", "'removing', false"])
def test_a_binding_is_born_absent(story: tuple[Cast, Request, Grant], app: psycopg.Connection, born: str) -> None:
    with pytest.raises(psycopg.Error):
        app.execute(
            "INSERT INTO grants_rolebinding (idp_id, external_id, role, phase, found_before)"
            f" VALUES (%s, 'id-ben', 'r', {born})",
            [story[0].idp.pk],
        )
