"""Events of a real Prefect server: lists, pages whose tokens anybody can write, subscriptions."""

from __future__ import annotations

import base64
import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from grants.gate.decision.types import Json, Refusal, Send
from grants.gate.prefect.lists.narrow import named, narrow
from grants.gate.prefect.lookups.visible_ids import Granted
from grants.gate.prefect.scopes import Scope
from tests.gate.prefect.world import AUTH, NOTHING, World, leaked, match_of, token

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("world")]


def test_events_are_those_of_ones_own(world: World) -> None:
    alpha, bravo, sees = world.alpha, world.bravo, world.sees(world.alpha)

    def events(visible: Granted, body: Json) -> list[str]:
        """All pages, as the UI walks them."""
        page = world.call(visible, "POST", "/events/filter", body)
        names, total = [], page.json["total"]
        while True:
            assert not leaked(page.raw, bravo.canaries)
            names += [event["event"] for event in page.json["events"]]
            if page.json["next_page"] is None:
                break
            following = page.json["next_page"].partition("page-token=")[2]
            page = world.call(visible, "GET", "/events/filter/next", page_token=following)
        assert len(names) == total
        return names

    mine = {"filter": {"event": {"prefix": [alpha.word]}}, "limit": 50}
    assert len(events(sees, mine)) == 61
    assert events(Granted(all=False, deployments=frozenset({alpha.own})), mine) == [f"{alpha.word}.run"]
    for nothing in (
        {"filter": {"event": {"prefix": [bravo.word]}}},
        {"filter": {"any_resource": {"id": [f"prefect.work-pool.{bravo.pool}"]}}},
    ):
        assert events(sees, nothing) == []
    assert events(NOTHING, {}) == []
    assert events(NOTHING, {"filter": {"any_resource": []}}) == []
    named_run = {
        "filter": {
            "any_resource": {
                "id": [f"prefect.flow-run.{alpha.ids['sub-run']}", f"prefect.flow-run.{bravo.ids['sub-run']}"]
            },
            "event": {"prefix": [alpha.word, bravo.word]},
        }
    }
    assert events(sees, named_run) == [f"{alpha.word}.sub"]
    body = {"filter": {"event": {"prefix": [alpha.word]}}}
    counted = world.call(sees, "POST", "/events/count-by/event", body, template="/events/count-by/{countable}").json
    assert sum(count["count"] for count in counted) == 61


def test_a_page_token_is_only_as_good_as_its_bearer(world: World) -> None:
    everything = token(world)
    sees = world.sees(world.alpha)
    page = world.call(sees, "GET", "/events/filter/next", page_token=everything)
    assert page.status == 200
    assert page.json["events"] == []
    forged = json.loads(base64.b64decode(base64.b64decode(everything)))
    for change in (
        {"filter": {}}, {"filter": None}, {"filter": {"any_resource": []}}, {"filter": {"any_resource": None}}, {"page_size": 10**9, "filter": {}},
        {"count": -1}, {"offset": True}, {"page_size": "50"}, {"filter": []}, {"filter": {"any_resource": "x"}}, {"count": None},
    ):  # fmt: skip
        text = base64.b64encode(base64.b64encode(json.dumps({**forged, **change}).encode())).decode()
        seen = world.call(sees, "GET", "/events/filter/next", page_token=text)
        assert seen.status in {200, 400, 422}
        assert not leaked(seen.raw, world.bravo.canaries)
        if seen.status == 200:
            assert len(seen.json["events"]) <= 50
    for text in (
        "",
        "x",
        "eA==",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(base64.b64encode(b"[]")).decode(),
        base64.b64encode(base64.b64encode(b"NaN")).decode(),
        "é",
    ):
        assert world.call(sees, "GET", "/events/filter/next", page_token=text).status == 400


def test_subscriptions_are_narrowed_on_a_real_socket(world: World) -> None:
    alpha, bravo = world.alpha, world.bravo

    def backfill(visible: Granted, message: Json) -> list[str]:
        narrowed = subscription(world, visible, "/api/events/out", message)
        assert isinstance(narrowed, Send)
        heard: list[str] = []
        url = world.url.replace("http", "ws", 1) + "/events/out"
        with connect(url, subprotocols=["prefect"]) as socket:
            socket.send(json.dumps({"type": "auth", "token": AUTH}))
            assert json.loads(socket.recv(10))["type"] == "auth_success"
            socket.send(json.dumps(narrowed.body))
            try:
                while True:
                    text = socket.recv(1.5)
                    assert not leaked(text.encode(), bravo.canaries)
                    heard.append(json.loads(text)["event"]["event"])
            except (TimeoutError, ConnectionClosed):
                return heard

    every = {"type": "filter", "filter": {"event": {"prefix": [alpha.word, bravo.word]}}}
    assert len(backfill(world.sees(alpha), every)) == 61
    assert backfill(NOTHING, every) == []
    run = {"type": "filter", "filter": {"flow_run_id": {"any_": [alpha.ids["sub-run"], bravo.ids["sub-run"]]}}}
    narrowed = subscription(world, world.sees(alpha), "/api/logs/out", run)
    assert isinstance(narrowed, Send)
    assert narrowed.body == {"type": "filter", "filter": {"flow_run_id": {"any_": [alpha.ids["sub-run"]]}}}
    for path in ("/api/events/out", "/api/logs/out"):
        for message in (
            {"type": "quit"},
            [],
            "filter",
            {"filter": {}},
            {"type": "filter", "filter": 1},
            {**every, "more": 1},
        ):
            assert isinstance(subscription(world, world.sees(alpha), path, message), Refusal), message


def subscription(world: World, visible: Granted, path: str, message: Json) -> object:
    match = match_of("WS", path, path)
    wanted = named(match, message, visible)
    if isinstance(wanted, Refusal):
        return wanted
    found = world.loop.run(world.lookups.resolve(wanted))
    return narrow(match, message, world.loop.run(world.lookups.visible_ids(visible, Scope.EVENTS_OUT)), found)
