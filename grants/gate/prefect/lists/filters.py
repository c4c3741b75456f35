"""Bodies of Prefect's lists: their allowed shape, the ids that they name, and how a model is restricted to some ids.

Prefect ANDs the models of a body ("flows", "deployments" …) and the fields of a model, unless its `operator` is
or_; an unknown field inside a model is refused by Prefect (422), an unknown key beside them is ignored by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from grants.gate.decision.ids import canonical_id
from grants.gate.decision.types import Code, Json, Refusal
from grants.gate.prefect.lookups.visible_ids import NOBODY

MOST_NAMED = 200  # ids that one call may name, each of which is looked up
_DEEPEST = 12
_MOST_PARTS = 5_000
_LONGEST = 1_000  # letters of a text
_MOST_WILDCARDS = 8
_MOST_INTERVALS = 1_000
_LONGEST_INTERVAL = 10**9  # seconds

type Filter = dict[str, Any]


class Unnarrowable(Exception):  # its value is the answer
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.why)
        self.refusal = refusal


def malformed(why: str) -> Unnarrowable:
    return Unnarrowable(Refusal(400, Code.BODY, why=why))


def wider(why: str) -> Unnarrowable:
    return Unnarrowable(Refusal(403, Code.LIST, why=why))


def shaped(body: Json) -> Filter:
    """The body of a list: an object of bounded size. None counts as an empty one, as it does for Prefect."""
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise malformed("The body of a list is an object.")
    within_bounds(body)
    return body


def within_bounds(body: Json) -> None:
    """Bound a filter's depth, parts, text lengths and wildcards, so that a query by it stays cheap."""
    left: list[tuple[Json, int]] = [(body, 1)]
    parts = 0
    while left:
        at, depth = left.pop()
        if isinstance(at, str) and (len(at) > _LONGEST or at.count("%") > _MOST_WILDCARDS):
            raise malformed("A text in the filter is too long, or has too many wildcards.")
        if not isinstance(at, dict | list):
            continue
        inner = list(at.values()) if isinstance(at, dict) else at
        parts += len(inner)
        if depth > _DEEPEST or parts > _MOST_PARTS:
            raise malformed("The filter is too large.")
        left += [(part, depth + 1) for part in inner]


def history_within_bounds(body: Filter) -> None:
    """Bound the intervals of a history: newer servers stop at 500, older ones make as many as they are asked for."""
    times = [body.get("history_start"), body.get("history_end")]
    seconds = body.get("history_interval_seconds")
    if seconds is None or None in times:
        return  # which no server takes
    if not isinstance(seconds, int | float) or not all(isinstance(time, str) for time in times):
        raise malformed("A history has a start and an end, and the seconds of an interval.")
    try:
        start, end = (datetime.fromisoformat(str(time)) for time in times)
        spans = (end - start).total_seconds()
    except (ValueError, TypeError):
        raise malformed("A history's start and end are times as 2026-01-01T00:00:00Z.") from None
    if not 1 <= seconds <= _LONGEST_INTERVAL or spans > seconds * _MOST_INTERVALS:
        raise malformed(f"A history has {_MOST_INTERVALS} intervals at most, of a second or more.")


def refuse_other_keys(body: Filter, keys: Collection[str]) -> None:
    """Refuse unknown keys: Prefect ignores them, and with them the filter that they were meant to be.

    Its own client sends some of them as null (`work_queues` of flows): that filters nothing, there and here.
    """
    unknown = sorted(key for key in body if key not in keys and body[key] is not None)
    if unknown:
        raise Unnarrowable(Refusal(400, Code.LIST, why=f"This list has no {unknown[0][:60]!r} to filter by."))


def model(body: Mapping[str, Json], name: str) -> Filter:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed(f"{name} is an object.")
    return value


def ids(value: Json) -> list[str]:
    """A list of ids in their one spelling."""
    if not isinstance(value, list):
        raise malformed("A list of ids is expected.")
    known = [canonical_id(item) for item in value]
    if None in known:
        raise malformed("A list of ids holds something else.")
    return list(dict.fromkeys(item for item in known if item))


def named_ids(body: Mapping[str, Json], *path: str) -> list[str] | None:
    """The ids of body.model.field.any_, where they bound what is listed; None where nothing is named so."""
    first, field = path
    outer = model(body, first)
    inner = model(outer, field)
    if inner.get("any_") is None or _alternative(outer) or _alternative(inner):
        return None
    found = ids(inner["any_"])
    if len(found) > MOST_NAMED:
        raise malformed(f"At most {MOST_NAMED} ids can be named in one call.")
    return found


def held_to(body: Filter, name: str, field: str, allowed: Collection[str]) -> Filter:
    """Give `body` with body.name.field.any_ restricted to `allowed`, or set to it."""
    outer = model(body, name)
    inner = model(outer, field)
    if _alternative(outer) or _alternative(inner):
        raise wider(f"or_ would widen this list beyond what you may see: use and_ in {name}.")
    asked = inner.get("any_")
    left = sorted(allowed) if asked is None else [item for item in ids(asked) if item in allowed]
    return {**body, name: {**outer, field: {**inner, "any_": left or [NOBODY]}}}


def _alternative(part: Filter) -> bool:
    return part.get("operator", "and_") not in ("and_", None)
