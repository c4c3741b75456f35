"""What a grant was used for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.tokens import issue, usage
from grants.tokens.models import Credential
from grants.tokens.usage import Refused, Used
from tests.cast import Cast
from tests.conftest import connect

pytestmark = pytest.mark.usefixtures("commits")

NOON, LATER = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, 13, tzinfo=UTC)

type Count = Callable[[Credential, str, str, datetime, int], None]


@pytest.fixture
def count() -> Count:
    def of(token: Credential, route: str, code: str, minute: datetime, n: int) -> None:
        row = {
            "minute": minute.isoformat(), "gate": "g", "credential_id": token.pk, "route": route, "code": code, "n": n,
        }  # fmt: skip
        with connect("stint_gate", autocommit=True) as gate:
            gate.execute("SELECT gate_use(%s)", [json.dumps([row])])

    return of


@pytest.fixture
def grant(cast: Cast) -> Grant:
    return decide.approve(cast.asks(), by=cast.chiara).grants.get()


def test_by_route_and_by_token(cast: Cast, grant: Grant, count: Count) -> None:
    first, second = (issue.issue(grant, by=cast.ada).credential for _ in range(2))
    other = decide.approve(cast.asks(cast.ben), by=cast.chiara).grants.get()
    count(issue.issue(other, by=cast.ben).credential, "GET /flows", "ok", NOON, 100)
    count(first, "GET /flows", "ok", NOON, 2)
    count(second, "GET /flows", "ok", LATER, 3)
    count(first, "GET /flows", "no_grant", NOON, 4)
    count(first, "POST /runs", "guard", LATER, 1)
    assert usage.of_grant(grant) == [
        Used("GET /flows", 5, 4, NOON, LATER),
        Used("POST /runs", 0, 1, LATER, LATER),
    ]
    assert usage.refusals_of(grant) == [Refused("no_grant", 4), Refused("guard", 1)]
    listed = [(one.credential, one.last_used, one.calls, one.refused) for one in issue.of_grant(grant)]
    assert listed == [(second, LATER, 3, 0), (first, LATER, 2, 5)]


def test_nothing_was_done(cast: Cast, grant: Grant) -> None:
    issue.issue(grant, by=cast.ada)
    assert usage.of_grant(grant) == []
    (listed,) = issue.of_grant(grant)
    assert (listed.last_used, listed.calls, listed.refused) == (None, 0, 0)
