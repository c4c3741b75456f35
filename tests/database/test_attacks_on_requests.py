"""Requests, their items and the votes on them, attacked as the app role: nothing is approved that was not voted for.

The ORM is left out on purpose: this is what a hole in our own code could send.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from grants.lifecycle.models import Grant, Request
from tests.cast import Cast
from tests.conftest import connect
from tests.database.attacker import ILLEGAL_MOVE, refused

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
