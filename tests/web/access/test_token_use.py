"""What was done with an access, on its page, as the gates counted it."""

from __future__ import annotations

import json

import pytest

from grants import clock
from grants.lifecycle import decide
from grants.tokens import issue
from tests.cast import Cast
from tests.conftest import connect
from tests.web.conftest import SignIn


@pytest.fixture(autouse=True)
def whole(commits: None) -> None:
    """A gate counts on a connection of its own."""


def test_what_was_done_with_it(cast: Cast, sign_in: SignIn) -> None:
    held = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    credential = issue.issue(held, by=cast.ada).credential
    rows = [("POST /api/deployments/{id}/create_flow_run", "ok", 3), ("GET /api/flow_runs/{id}", "no_grant", 2),
            ("WS /api/events/in", "key_only", 1)]  # fmt: skip
    counted = [{"minute": clock.now().isoformat(), "gate": "g", "credential_id": credential.pk, "route": route,
                "code": code, "n": n} for route, code, n in rows]  # fmt: skip
    with connect("stint_gate") as gate:
        gate.execute("SELECT gate_use(%s)", [json.dumps(counted)])
    page = sign_in(cast.ada).get(f"/grants/{held.pk}").text
    assert "create_flow_run" in page
    assert "3 calls" in page
    assert "For something else than was granted: 2." in page
    assert "not on its sockets" in page
