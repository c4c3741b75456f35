"""Event lists show events that involve a granted pool, a visible deployment, or a visible run that the filter names.

For events an empty list of ids is no filter; where nothing is visible, an id stands that nobody has.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlencode

from grants.gate.decision.ids import canonical_id
from grants.gate.decision.types import Json, Lookup, Match, Narrowed
from grants.gate.prefect.lists.filters import MOST_NAMED, Filter, malformed, model, refuse_other_keys, shaped
from grants.gate.prefect.lookups.visible_ids import NOBODY, ListCall
from grants.gate.prefect.scopes import Scope

_RUN = "prefect.flow-run."
_LONGEST_TOKEN = 1 << 20
_PAGE = 50


def named(match: Match, body: Json) -> tuple[Lookup, ...]:
    """The flow runs that the filter asks for."""
    return tuple(Lookup("flow_run_place", run) for run in _runs(_filter_of(match, body)))


def _filter_of(match: Match, body: Json) -> Filter:
    holder = _token(match)["filter"] if match.route.scope == Scope.EVENT_PAGE else model(shaped(body), "filter")
    return shaped(holder)


def _runs(filters: Filter) -> list[str]:
    involved = [part for name in ("any_resource", "related", "resource") for part in _some(filters, name)]
    ids = [item for part in involved for item in _listed(part, "id") if isinstance(item, str)]
    named = dict.fromkeys(item.removeprefix(_RUN) for item in ids if item.startswith(_RUN))
    runs = [run for run in named if canonical_id(run) == run]
    if len(runs) > MOST_NAMED:
        raise malformed(f"At most {MOST_NAMED} ids can be named in one call.")
    return runs


def _some(filters: Filter, name: str) -> list[Filter]:
    """One filter, or a list of them, as a list."""
    value = filters.get(name)
    parts = value if isinstance(value, list) else [value]
    if not all(part is None or isinstance(part, dict) for part in parts):
        raise malformed(f"{name} is an object or a list of them.")
    return [part for part in parts if part is not None]


def _listed(part: Filter, name: str) -> list[Any]:
    value = part.get(name)
    return value if isinstance(value, list) else []


def _within(call: ListCall, filters: Filter) -> Filter:
    """Add a filter to any_resource; an event must pass all of these."""
    ids = [
        *(f"prefect.work-pool.{key}" for key in sorted(call.visible_ids.pools)),
        *(f"prefect.deployment.{key}" for key in sorted(call.visible_ids.deployments)),
        *(f"{_RUN}{key}" for key in sorted(call.seen("flow_run_place", _runs(filters)))),
    ]
    bound = {"id": ids or [f"{_RUN}{NOBODY}"]}
    # The next page's token repeats what was asked for.
    others = [part for part in _some(filters, "any_resource") if _told(part) != bound]
    return {**filters, "any_resource": [*others, bound]}


def _told(part: Filter) -> Filter:
    return {key: value for key, value in part.items() if value is not None}


def _events(call: ListCall) -> Narrowed:
    body = shaped(call.body)
    refuse_other_keys(body, {"filter", "limit"})
    return call.sent({**body, "filter": _within(call, model(body, "filter"))})


def _counts(call: ListCall) -> Narrowed:
    body = shaped(call.body)
    refuse_other_keys(body, {"filter", "time_unit", "time_interval"})
    return call.sent({**body, "filter": _within(call, model(body, "filter"))})


def _out(call: ListCall) -> Narrowed:
    """A subscription's message."""
    body = shaped(call.body)
    refuse_other_keys(body, {"type", "filter", "backfill"})
    if body.get("type") != "filter":
        raise malformed("The first message after the sign-in is a filter.")
    return call.sent({**body, "filter": _within(call, model(body, "filter"))})


def _page(call: ListCall) -> Narrowed:
    """Narrow the filter in a page token: anybody can write such a token."""
    token = _token(call.match)
    token["filter"] = _within(call, shaped(token["filter"]))
    text = base64.b64encode(base64.b64encode(json.dumps(token).encode())).decode()
    return call.sent(call.body, target=f"{call.match.target.raw_path}?{urlencode({'page-token': text})}")


def _token(match: Match) -> dict[str, Any]:
    texts = [value for name, value in match.target.query if name == "page-token"]
    if len(texts) != 1 or len(texts[0]) > _LONGEST_TOKEN:
        raise malformed("The page token cannot be read.")
    try:
        plain = base64.b64decode(base64.b64decode(texts[0], validate=True), validate=True)
        token = json.loads(plain, parse_constant=_no_constant)
    except (ValueError, RecursionError, binascii.Error):
        raise malformed("The page token cannot be read.") from None
    numbers = [token.get(name) for name in ("count", "page_size", "offset")] if isinstance(token, dict) else []
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        raise malformed("The page token cannot be read.")
    return {
        "filter": token.get("filter"),
        "count": token["count"],
        "page_size": min(token["page_size"], _PAGE),
        "offset": token["offset"],
    }


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


LINES: dict[Scope, Callable[[ListCall], Narrowed]] = {
    Scope.EVENTS: _events,
    Scope.EVENT_COUNTS: _counts,
    Scope.EVENT_PAGE: _page,
    Scope.EVENTS_OUT: _out,
}
