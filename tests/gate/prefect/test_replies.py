"""What Prefect answers, and what the caller hears."""

from __future__ import annotations

from uuid import uuid4

import pytest

from grants.gate.decision.types import Code, Json, Match, Refusal, Target
from grants.gate.prefect.guards.replies import masked, own_run, without_password
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.routes.table import ROUTES
from tests.gate.loop import run
from tests.gate.recorder import recorder
from tests.gate.toy import RUN, TOY, Papers, bearer, gate, status

HERE = uuid4()
(ROUTE,) = (route for route in ROUTES if route.template == "/api/deployments/{id:uuid}/create_flow_run")
MATCH = Match(ROUTE, {"id": str(HERE).upper()}, Target("/", "/", (), "/"))


def test_templates_are_those_of_routes() -> None:
    assert set(PREFECT.answers) <= {route.template for route in ROUTES}


def test_the_ui_is_told_of_no_password() -> None:
    told = {"api_url": "/api", "auth": "BASIC", "flags": []}
    assert without_password(MATCH, told, {}) == {"api_url": "/api", "auth": None, "flags": []}


def test_settings_are_told_without_those_that_hold_passwords() -> None:
    told = {
        "server": {"docket": {"name": "prefect", "url": "redis://:pw@10.0.0.9/0"}, "api": {"auth_string": "*"}},
        "client": {"custom_headers": {"Authorization": "Bearer pw"}, "max_retries": 5},
    }
    heard = masked(MATCH, told, {})
    assert "pw" not in str(heard)
    assert heard["server"]["docket"]["name"] == "prefect"
    assert heard["client"]["max_retries"] == 5
    for odd in ({}, {"server": None, "client": {"custom_headers": {}}}, [], None):
        assert masked(MATCH, odd, {}) == odd


def test_a_run_of_this_deployment_is_told() -> None:
    made = {"id": "1", "deployment_id": str(HERE)}
    assert own_run(MATCH, made, {}) == made


@pytest.mark.parametrize("answer", [{"deployment_id": str(uuid4())}, {"deployment_id": None}, {}, [], "x", None])
def test_any_other_run_is_not(answer: Json) -> None:
    refused = own_run(MATCH, answer, {})
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (403, Code.GUARD)


def test_the_gate_tells_what_the_kind_makes_of_it() -> None:
    """Changed, refused, or unreadable: never as it was."""

    async def story() -> None:
        answers = {
            "/v9/things/{name}": lambda _match, answer, _found: {"was": answer},
            "/v9/things/{name}/create_run": lambda _match, _answer, _found: Refusal(403, Code.GUARD, why="Not yours."),
            "/pages/{page}": lambda _match, answer, _found: answer,
        }
        async with recorder() as rec:
            papers = Papers(rec.port)
            token = papers.token(papers.grant(RUN))
            async with gate(papers, kind=TOY._replace(answers=answers)) as door:
                json_ = "Content-Type: application/json"
                told = await door.ask("GET", "/v9/things/mine", bearer(token), "Accept-Encoding: gzip")
                assert told.endswith(b'{"was":{"ok":true}}')
                assert rec.got[-1].all("Accept-Encoding") == ["identity"]
                refused = await door.ask("POST", "/v9/things/mine/create_run", bearer(token), json_, body=b"{}")
                assert status(refused) == 403
                assert b"brave-cat" not in refused
                await door.usage.write(everything=True)
                assert not [values for sql, values in door.writes.calls if values[0] == "run_started"]
                unread = await door.ask("GET", "/pages/page", bearer(token))
                assert status(unread) == 503
                assert b"hello" not in unread

    run(story())
