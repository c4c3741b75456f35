"""Schemas that Prefect is asked to check by: what could keep it busy is left out of them, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from grants.gate.decision.types import Json, Refusal, Send
from grants.gate.prefect.lists.narrow import narrow
from grants.gate.prefect.lookups.visible_ids import Granted, VisibleIds
from grants.gate.prefect.reading.finds import Malformed
from grants.gate.prefect.reading.schemas import checked_by, is_dear
from tests.gate.prefect.test_narrow import match_of

# As pydantic writes them.
USUAL = {
    "type": "object",
    "title": "Parameters",
    "required": ["name", "pattern"],
    "properties": {
        "name": {"type": "string", "title": "name", "position": 0, "minLength": 1},
        "pattern": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "when": {"type": "string", "format": "date-time"},
        "rows": {"type": "array", "items": {"$ref": "#/definitions/Row"}},
        "extra": {"type": "object", "additionalProperties": {"type": "string"}},
        "kind": {"enum": ["a", "b"]},
    },
    "definitions": {"Row": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
}


def test_what_pydantic_writes_is_sent_as_it_is() -> None:
    assert checked_by(USUAL, {"name": "x"}) == USUAL


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        ({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}, {"properties": {"a": {"type": "string"}}}),
        ({"patternProperties": {"^(a+)+$": {}}, "type": "object"}, {"type": "object"}),
        ({"propertyNames": {"pattern": "^(a+)+$"}}, {}),
        ({"items": {"anyOf": [{"pattern": "^(a+)+$"}]}}, {"items": {"anyOf": [{}]}}),
        ({"items": [{"pattern": "x"}]}, {"items": [{}]}),
        ({"additionalProperties": {"not": {"pattern": "x"}}}, {"additionalProperties": {}}),
        ({"$defs": {"a": {"pattern": "x"}}, "$ref": "#/$defs/a"}, {"$defs": {"a": {}}, "$ref": "#/$defs/a"}),
        ({"uniqueItems": True, "contains": {}, "if": {}, "$dynamicRef": "#", "$id": "x", "$anchor": "y"}, {}),
        ({"format": "regex"}, {}),
        ({"$ref": "#"}, {}),
        ({"$ref": "https://example.org/x"}, {}),
        ({"$ref": "#/$defs/a/properties/b"}, {}),
        ({"$ref": "#/$defs/a~1b"}, {}),
        ({"$defs": [], "properties": 5, "anyOf": {}, "enum": 5, "required": "x", "items": "x"}, {"items": {}}),
    ],
)  # fmt: skip
def test_what_could_take_long_is_left_out(schema: Json, left: Json) -> None:
    assert checked_by(schema, {}) == left


def circles(schema: Json) -> bool:
    """Whether a reference leads back to where it stands."""
    defs = schema.get("$defs", {})

    def reaches(part: Json, seen: frozenset[str]) -> bool:
        if isinstance(part, list):
            return any(reaches(item, seen) for item in part)
        if not isinstance(part, dict):
            return False
        name = part.get("$ref", "").rpartition("/")[2]
        if name in seen or (name and reaches(defs.get(name, {}), seen | {name})):
            return True
        return any(reaches(value, seen) for value in part.values())

    return any(reaches(body, frozenset({name})) for name, body in defs.items())


@pytest.mark.parametrize(
    "defs",
    [
        {"a": {"$ref": "#/$defs/a"}},
        {"a": {"properties": {"x": {"$ref": "#/$defs/b"}}}, "b": {"items": {"$ref": "#/$defs/a"}}},
        {"b": {"allOf": [{"$ref": "#/$defs/a"}] * 2}, "a": {"allOf": [{"$ref": "#/$defs/c"}]}, "c": {"anyOf": [{"$ref": "#/$defs/b"}]}},
    ],
)  # fmt: skip
def test_no_reference_leads_back(defs: dict[str, Any]) -> None:
    for root in ({}, {"$ref": "#/$defs/a"}):
        assert circles({"$defs": defs, **root})
        assert not circles(checked_by({"$defs": defs, **root}, {}))


def _doubling(levels: int) -> dict[str, Any]:
    defs = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{levels}": {"type": "string"}}}


def _chain(levels: int) -> dict[str, Any]:
    return {"$ref": "#/$defs/a0", "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(levels)}}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (_doubling(30), {}),
        (_doubling(90), {}),
        (_chain(200), {}),
        ({"allOf": [{}] * 301}, {}),
        ({"allOf": [True] * 301}, {}),
        ({"items": {"allOf": [{}] * 200}}, {"a": [0] * 600}),
        ({"enum": [1] * 2_000}, {"a": [0] * 100}),
        ([], {}),
        (None, {}),
    ],
    ids=str,
)
def test_what_is_too_much_is_refused(schema: Json, values: Json) -> None:
    with pytest.raises(Malformed):
        checked_by(schema, values)


@pytest.mark.parametrize("everything", [True, False])
def test_it_is_cut_down_for_everybody(*, everything: bool) -> None:
    shown = VisibleIds(Granted(all=everything))
    evil = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    sent = narrow(match_of("ui/schemas/validate"), {"schema": evil, "values": {"a": "a" * 40}}, shown, {})
    assert isinstance(sent, Send)
    assert sent.body == {"schema": {"properties": {"a": {"type": "string"}}}, "values": {"a": "a" * 40}}
    refused = narrow(match_of("ui/schemas/validate"), {"schema": _doubling(30), "values": {}}, shown, {})
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.why) == (400, "The schema is too much to be checked here.")


def test_what_a_run_is_told_is_no_schema() -> None:
    for value in (None, 5, "x", [1, 2], {"approved": True}, {"rows": [{"a": 1}] * 200}):
        assert not is_dear(value)
    for value in ({"pattern": "x"}, [{"a": {"$ref": "x"}}], [True] * 301, {"a": {"anyOf": []}}):
        assert is_dear(value)


@pytest.mark.parametrize("body", [None, [], "x", 1, True, [{}], {"schema": {}, "values": {}, "x": 1}])
def test_a_body_of_another_shape_is_refused(body: Any) -> None:
    refused = narrow(match_of("ui/schemas/validate"), body, VisibleIds(Granted(all=False)), {})
    assert isinstance(refused, Refusal)
    assert refused.status == 400
