"""Sockets, frame by frame: what each names, who may say it, and that what is sent on is what was judged."""

from __future__ import annotations

from typing import Any

import pytest

from grants.gate.decision.target import canonical
from grants.gate.decision.types import Code, Match, Refusal
from grants.gate.prefect.events.socket_messages import first, socket_asks, socket_needs, socket_sends
from tests.gate.prefect.escalation_calls import MALFORMED, NOBODY, PASS_MORE
from tests.gate.prefect.escalations import ESCALATIONS
from tests.gate.prefect.matrix import PRINCIPALS, Call
from tests.gate.prefect.served import TABLE
from tests.gate.prefect.test_matrix import FOUND, IDS, outcome

EVENTS = [
    (call.may, event)
    for call in ESCALATIONS
    if call.path == "/api/events" and isinstance(call.body, list)
    for event in call.filled(IDS).body[-1:]
]
RUN, FOREIGN = IDS["flow_run"], IDS["foreign_flow_run"]


def socket(path: str) -> Match:
    target = canonical(path.encode())
    assert not isinstance(target, Refusal)
    matched = TABLE.match("WS", target)
    assert isinstance(matched, Match)
    return matched


def passed(path: str, number: int, message: Any) -> frozenset[str] | None:
    """Who may say it; None for a message that nobody may."""
    matched = socket(path)
    wanted = socket_needs(matched, number, message)
    if isinstance(wanted, Refusal):
        assert isinstance(socket_asks(matched, number, message, {}), Refusal)
        return None
    asked = socket_asks(matched, number, message, {lookup: FOUND.get(lookup) for lookup in wanted})
    if isinstance(asked, Refusal):
        assert asked.code is Code.BODY
        return None
    assert asked
    return frozenset(who for who in PRINCIPALS if outcome(asked, who) == "passed")


@pytest.mark.parametrize(
    ("message", "token"),
    [({"type": "auth", "token": "t"}, "t"), ({"type": "auth", "token": None}, None), ({"type": "auth"}, None)],
)
def test_the_first_message_has_the_token(message: Any, token: str | None) -> None:
    assert first(message) == token


@pytest.mark.parametrize(
    "message",
    [None, [], "auth", {}, {"type": "AUTH"}, {"type": "auth", "token": 1}, {"type": "auth", "x": 1}, {"token": "t"}],
)
def test_anything_else_is_no_first_message(message: Any) -> None:
    assert isinstance(first(message), Refusal)


@pytest.mark.parametrize(("may", "event"), EVENTS)
def test_an_event_on_the_socket_is_judged_as_one_that_is_posted(may: str, event: Any) -> None:
    wanted = passed("/api/events/in", 2, event)
    if may == MALFORMED:
        assert wanted is None or "account" in event  # a key that Prefect drops is dropped here
    else:
        assert wanted == PASS_MORE[may]
        assert passed("/api/events/in", 99, event) == wanted


def test_there_are_events_of_each_kind() -> None:
    assert {may for may, _ in EVENTS} == {"work", "a worker", "nobody", MALFORMED}


def test_what_prefect_would_drop_of_an_event_is_not_sent() -> None:
    event = {"occurred": "x", "event": "e", "id": "i", "resource": {"prefect.resource.id": "x"}, "account": "a"}
    assert socket_sends(socket("/api/events/in"), 2, event) == {key: event[key] for key in event if key != "account"}


def _loaded(block: str, name: str = "prefect.block.secret.loaded", **more: Any) -> dict[str, Any]:
    own = {"prefect.resource.id": f"prefect.block-document.{block}", "prefect.resource.name": "warehouse"}
    related = [{"prefect.resource.id": "prefect.block-type.secret", "prefect.resource.role": "block-type"}]
    return {"occurred": "2026-11-28T12:00:00Z", "event": name, "resource": own, "related": related, "id": RUN} | more


def test_who_may_read_a_block_may_say_that_it_was_loaded() -> None:
    """Secret.load tells of itself: refused, it prints that the events cannot be reached."""
    assert passed("/api/events/in", 2, _loaded(IDS["block"])) == {"secret", "work"}
    assert passed("/api/events/in", 2, _loaded(IDS["block"].upper())) == {"secret", "work"}


@pytest.mark.parametrize(
    "event",
    [
        _loaded(IDS["inner_block"]),
        _loaded(IDS["block"], "prefect.block.secret.loaded.again"),
        _loaded(IDS["block"], "prefect.deployment.loaded"),
        _loaded(IDS["block"], "prefect.block.secret.load.called"),
        _loaded(
            IDS["block"], related=[{"prefect.resource.id": f"prefect.flow-run.{RUN}", "prefect.resource.role": "x"}]
        ),
        _loaded(IDS["block"], payload={"task_run": {"id": RUN, "flow_run_id": RUN}}),
    ],
)
def test_and_nothing_else(event: Any) -> None:
    assert "secret" not in (passed("/api/events/in", 2, event) or ())


# Filters.


def _filter(**parts: Any) -> dict[str, Any]:
    return {"type": "filter", "filter": parts}


@pytest.mark.parametrize(
    ("parts", "may"),
    [
        ({"flow_run_id": {"any_": [RUN]}}, "view"),
        (
            {"flow_run_id": {"any_": [RUN]}, "operator": "and_", "level": None, "text": None, "task_run_id": None},
            "view",
        ),
        ({"flow_run_id": {"any_": [RUN, FOREIGN]}}, "server"),
        ({}, "server"),
        ({"flow_run_id": None}, "server"),
        ({"flow_run_id": {"any_": []}}, "server"),
        ({"task_run_id": {"any_": [IDS["task_run"]]}}, "server"),
    ],
)
def test_logs_are_heard_of_runs_that_may_be_seen(parts: dict[str, Any], may: str) -> None:
    heard = passed("/api/logs/out", 2, _filter(**parts))
    assert heard == (PASS_MORE[may] if may != "server" else frozenset({"admin"}))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "filter"},
        {"type": "filter", "filter": []},
        {"type": "filter", "filter": {}, "x": 1},
        {"filter": {}},
        _filter(operator="or_", flow_run_id={"any_": [RUN]}),
        _filter(flow_run_id={"any_": None}),
        _filter(flow_run_id={}),
        _filter(flow_run_id={"any_": [RUN], "not_any_": []}),
        _filter(flow_run_id={"any_": ["x"]}),
        _filter(flow_run_id=[RUN]),
        _filter(runs=[RUN]),
        None,
    ],
)
def test_other_filters_of_logs_are_refused(message: Any) -> None:
    assert passed("/api/logs/out", 2, message) is None


def test_everybody_signed_in_hears_events_which_are_narrowed() -> None:
    assert passed("/api/events/out", 2, _filter(event={"name": ["x"]}) | {"backfill": False}) == PASS_MORE["any"]
    assert passed("/api/events/out", 2, {"type": "filter"}) is None
    assert socket("/api/events/out").route.scope == "events_out"


@pytest.mark.parametrize("path", ["/api/events/out", "/api/logs/out"])
def test_after_its_filter_a_client_only_listens(path: str) -> None:
    for number in (3, 4):
        assert passed(path, number, _filter(flow_run_id={"any_": [RUN]})) is None


# Workers.

CHANNEL = "/api/work_pools/pool-a/workers/connect"
HELLO = {
    "type": "worker.hello.v1",
    "payload": {"worker_name": "w", "create_pool_if_not_found": True, "default_base_job_template": {"a": 1}},
}
BEAT = {"type": "worker.heartbeat.v1", "payload": {"worker_name": "w"}}


def test_a_worker_speaks_for_its_pool() -> None:
    for number, message in ((2, HELLO), (3, BEAT), (9, {"type": "cleanup.ack.v1", "payload": {}})):
        assert passed(CHANNEL, number, message) == PASS_MORE["work"]
        assert passed(CHANNEL.replace("pool-a", "pool-b"), number, message) == NOBODY
        assert passed(CHANNEL.replace("pool-a", "nowhere"), number, message) == NOBODY


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (3, HELLO),
        (2, BEAT),
        (3, {"type": "worker.ready.v1", "payload": {}}),
        (2, {"type": "worker.hello.v1"}),
        (2, []),
        (3, None),
    ],
)
def test_a_worker_says_nothing_else(number: int, message: Any) -> None:
    assert passed(CHANNEL, number, message) is None


def test_a_hello_makes_no_pool_and_writes_no_template() -> None:
    sent = socket_sends(socket(CHANNEL), 2, HELLO)
    assert sent["payload"] == {"worker_name": "w", "create_pool_if_not_found": False, "default_base_job_template": {}}
    assert sent["type"] == HELLO["type"]
    assert HELLO["payload"]["create_pool_if_not_found"] is True  # type: ignore[index]
    assert socket_sends(socket(CHANNEL), 3, BEAT) == BEAT


# Task workers.

TASKS = "/api/task_runs/subscriptions/scheduled"


@pytest.mark.parametrize(
    ("number", "message", "fine"),
    [
        (2, {"type": "subscribe", "keys": ["k"], "client_id": "c"}, True),
        (3, {"type": "ack"}, True),
        (4, {"type": "quit"}, True),
        (2, {"type": "ack"}, False),
        (2, {"type": "subscribe", "keys": []}, False),
        (2, {"type": "subscribe", "keys": [1]}, False),
        (3, {"type": "subscribe", "keys": ["k"], "client_id": "c"}, False),
        (3, {"type": "nack"}, False),
        (3, None, False),
    ],
)
def test_background_tasks_are_the_servers(number: int, message: Any, fine: bool) -> None:
    assert passed(TASKS, number, message) == (NOBODY if fine else None)  # nobody here works for the whole server


def test_every_socket_has_its_frames() -> None:
    sockets = [route for route in TABLE.routes if route.method == "WS"]
    assert len(sockets) == 5
    for route in sockets:
        path = Call("WS", route.template, "", route.template.replace("{work_pool_name}", "pool-a")).path
        assert isinstance(socket_needs(socket(path), 2, "nonsense"), (tuple, Refusal))
        assert isinstance(socket_asks(socket(path), 2, "nonsense", {}), Refusal)
