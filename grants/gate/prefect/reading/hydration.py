"""Values that Prefect puts something in for: other people's variables, or what a template makes, inside the server."""

from __future__ import annotations

from collections.abc import Iterator

from grants.catalog.levels import Level
from grants.gate.decision.types import Ask, Json, Match
from grants.gate.prefect.reading.finds import anywhere, on_server

_HARMLESS = ("none", "json")
_VARIABLE = "workspace_variable"


def hydration_asks(match: Match, values: Json) -> tuple[Ask, ...]:
    """A variable is asked for. A template runs in the server for as long as it likes: `{{ 9 ** 9 ** 9 }}`."""
    kinds = tuple(_kinds(values))
    if any(kind != _VARIABLE for kind in kinds):
        return (on_server(match, Level.ADMIN),)
    return (on_server(match, Level.VIEW, *anywhere(match, Level.WORK)),) if kinds else ()


def hydrates(values: Json) -> bool:
    """Whether Prefect would put anything into these values."""
    return any(True for _ in _kinds(values))


def reads_variables(values: Json) -> bool:
    """Whether Prefect would put a variable's value into these values."""
    return any(kind == _VARIABLE for kind in _kinds(values))


def _kinds(values: Json) -> Iterator[Json]:
    """Kinds that are not harmless, wherever they stand."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "__prefect_kind" in value and value["__prefect_kind"] not in _HARMLESS:
                yield value["__prefect_kind"]
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
