"""Messages of a client on a socket: what each names, what it asks for, and how it is sent to Prefect.

Frame 1 is for the door alone (`first`); from 2 on each is judged like a call of its own, and what is sent on is
what was judged. No frame is passed that is not listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from grants.catalog.levels import Level
from grants.gate.decision.types import Ask, Code, Found, Json, Lookup, Match, Refusal
from grants.gate.prefect.events.claims import KEYS, claims, on_event
from grants.gate.prefect.reading.finds import (
    OVERFLOWN,
    Malformed,
    a_list,
    an_object,
    found_by,
    on,
    on_all,
    on_server,
    signed_in,
)

_WORKER = "/api/work_pools/{work_pool_name}/workers/connect"
_LOG_FILTER = frozenset({"operator", "level", "timestamp", "flow_run_id", "task_run_id", "text"})
_WORKER_SAYS = frozenset({"worker.heartbeat.v1", "cleanup.ack.v1", "cleanup.release.v1", "cleanup.renew.v1"})


def first(message: Json) -> str | Refusal | None:
    """The token in a socket's first message; None where the client has none to send there."""
    try:
        body = an_object(message, {"type", "token"}, "The first message")
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))
    token = body.get("token")
    if body.get("type") != "auth" or not (token is None or isinstance(token, str)):
        return Refusal(400, Code.BODY, why="The first message must be of type auth.")
    return token


def socket_needs(match: Match, number: int, message: Json) -> tuple[Lookup, ...] | Refusal:
    """What must be looked up to judge the client's message `number` (2, 3, …)."""
    try:
        return _SOCKETS[match.route.template].needs(match, number, message)
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))
    except OverflowError:
        return OVERFLOWN


def socket_asks(match: Match, number: int, message: Json, found: Found) -> tuple[Ask, ...] | Refusal:
    """All that a client must be granted for this message."""
    try:
        return _SOCKETS[match.route.template].asks(match, number, message, found)
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))
    except OverflowError:
        return OVERFLOWN


def socket_sends(match: Match, number: int, message: Json) -> Json:
    """Give a message that passed as it is sent to Prefect. A filter of /events/out is narrowed, too."""
    return _SOCKETS[match.route.template].sends(number, message)


class _Socket(NamedTuple):
    needs: Callable[[Match, int, Json], tuple[Lookup, ...]]
    asks: Callable[[Match, int, Json, Found], tuple[Ask, ...]]
    sends: Callable[[int, Json], Json]


def _nothing(_match: Match, _number: int, _message: Json) -> tuple[Lookup, ...]:
    return ()


def _as_it_is(_number: int, message: Json) -> Json:
    return message


# /events/in: one event each.


def _event(message: Json) -> Json:
    """Drop the keys that Prefect drops: a newer client may send some."""
    if not isinstance(message, dict):
        raise Malformed("An event must be a JSON object.")
    return {key: value for key, value in message.items() if key in KEYS}


def _event_needs(_match: Match, _number: int, message: Json) -> tuple[Lookup, ...]:
    return claims(_event(message)).lookups


def _event_asks(match: Match, _number: int, message: Json, found: Found) -> tuple[Ask, ...]:
    return on_event(match, _event(message), found)


# /events/out and /logs/out: one filter, and then the client only listens.


def _filter(number: int, message: Json) -> dict[str, Json]:
    if number != 2:
        raise Malformed("After its filter the client only listens.")
    body = an_object(message, {"type", "filter", "backfill"}, "The filter")
    if body.get("type") != "filter" or not isinstance(body.get("filter"), dict):
        raise Malformed("The second message must be a filter.")
    return body


def _events_asks(match: Match, number: int, message: Json, _found: Found) -> tuple[Ask, ...]:
    _filter(number, message)
    return signed_in(match)  # the answers are narrowed to what the caller may see


def _logs_needs(_match: Match, number: int, message: Json) -> tuple[Lookup, ...]:
    wanted = an_object(_filter(number, message)["filter"], _LOG_FILTER)
    if wanted.get("operator") not in (None, "and_"):
        raise Malformed("The filter's parts must all hold.")
    runs = wanted.get("flow_run_id")
    if runs is None:
        return ()
    ids = a_list(an_object(runs, {"any_"}, "flow_run_id").get("any_"), "any_", most=200)
    return tuple(found_by("flow_run", run, "A flow run") for run in ids)


def _logs_asks(match: Match, number: int, message: Json, found: Found) -> tuple[Ask, ...]:
    """Ask for the whole server's logs, or for those of runs that the caller may see."""
    return on_all(match, _logs_needs(match, number, message), found, Level.VIEW) or (on_server(match, Level.VIEW),)


# A worker's channel.


def _worker_asks(match: Match, number: int, message: Json, found: Found) -> tuple[Ask, ...]:
    _worker_says(number, message)
    return (on(match, _pool(match), found, Level.WORK),)


def _worker_needs(match: Match, number: int, message: Json) -> tuple[Lookup, ...]:
    _worker_says(number, message)
    return (_pool(match),)


def _worker_says(number: int, message: Json) -> dict[str, Json]:
    if not isinstance(message, dict) or not isinstance(message.get("payload"), dict):
        raise Malformed("A worker's frame must be a JSON object with a payload.")
    kind = message.get("type")
    if (kind == "worker.hello.v1") != (number == 2) or not (number == 2 or kind in _WORKER_SAYS):
        raise Malformed("A worker says hello first, once, and then what workers say.")
    return message


def _worker_sends(number: int, message: Json) -> Json:
    """Refuse a hello that makes a pool or writes its template: that takes `manage`, which `work` does not hold."""
    if number != 2:
        return message
    payload = {**message["payload"], "create_pool_if_not_found": False, "default_base_job_template": {}}
    return {**message, "payload": payload}


def _pool(match: Match) -> Lookup:
    return found_by("pool", match.params["work_pool_name"], "work_pool_name")


# A task worker's subscription: background tasks belong to no pool, so the server is asked.


def _task_asks(match: Match, number: int, message: Json, _found: Found) -> tuple[Ask, ...]:
    if number == 2:
        body = an_object(message, {"type", "keys", "client_id"}, "The subscription")
        keys = a_list(body.get("keys"), "keys")
        if body.get("type") != "subscribe" or not keys or not all(isinstance(key, str) for key in keys):
            raise Malformed("The second message must subscribe to task keys.")
    elif an_object(message, {"type"}, "The answer").get("type") not in {"ack", "quit"}:
        raise Malformed("A task worker answers ack or quit.")
    return (on_server(match, Level.WORK),)


_SOCKETS = {
    "/api/events/in": _Socket(_event_needs, _event_asks, lambda _number, message: _event(message)),
    "/api/events/out": _Socket(_nothing, _events_asks, _as_it_is),
    "/api/logs/out": _Socket(_logs_needs, _logs_asks, _as_it_is),
    _WORKER: _Socket(_worker_needs, _worker_asks, _worker_sends),
    "/api/task_runs/subscriptions/scheduled": _Socket(_nothing, _task_asks, _as_it_is),
}
