"""Values in which Prefect replaces parts: by variables of the server, or by what a template makes there."""

from __future__ import annotations

from collections.abc import Iterator

from grants.catalog.levels import Level
from grants.gate.decision.types import Ask, Json, Match
from grants.gate.prefect.reading.finds import anywhere, on_server

_HARMLESS = ("none", "json")
_VARIABLE = "workspace_variable"


def hydration_asks(match: Match, values: Json) -> tuple[Ask, ...]:
    """Ask for the server's variables, and for `admin` where a template runs: `{{ 9 ** 9 ** 9 }}` never ends."""
    kinds = tuple(_kinds(values))
    if any(kind != _VARIABLE for kind in kinds):
        return (on_server(match, Level.ADMIN),)
    return (on_server(match, Level.VIEW, *anywhere(match, Level.WORK)),) if kinds else ()


def hydrates(values: Json) -> bool:
    """Tell whether Prefect would replace anything in these values."""
    return any(True for _ in _kinds(values))


def reads_variables(values: Json) -> bool:
    """Tell whether Prefect would put a variable's value into these values."""
    return any(kind == _VARIABLE for kind in _kinds(values))


def _kinds(values: Json) -> Iterator[Json]:
    """Yield the kinds of replacement that are not harmless, at any depth."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "__prefect_kind" in value and value["__prefect_kind"] not in _HARMLESS:
                yield value["__prefect_kind"]
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
