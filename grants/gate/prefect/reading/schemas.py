"""JSON schemas as Prefect may be given them to work with: what it costs to check one, and values by one, is counted
here first. A regular expression of a few letters, or references to references, would keep it busy for days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from grants.gate.decision.types import Json
from grants.gate.prefect.reading.finds import Malformed

MOST_STORED = 1_000  # objects in a schema or a template that is kept
_MOST_CHECKED = 300  # objects in a schema that values are checked by
_MOST_STEPS = 100_000  # objects of the schema, with references followed, times values
_MOST_VALUES = 20_000
_DEEPEST = 32

# The keywords of a schema that are kept, whose cost is counted; the rest is checked when the run is made.
_TOLD = frozenset({"title", "description", "default", "example", "examples", "position", "block_type_slug", "const"})
_CHEAP = _TOLD | {
    *("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
}
_FORMATS = frozenset({"date", "date-time", "time", "duration", "uuid", "email", "ipv4", "ipv6"})
_SCHEMA, _SCHEMAS = {"items", "additionalProperties"}, {"anyOf", "allOf", "oneOf", "prefixItems"}
_NAMED, _LISTS = {"properties", "definitions", "$defs"}, {"enum", "required"}
_PLACE = re.compile(r"#/(definitions|\$defs)/([^/~%]+)")
_LONGEST = 50  # references that follow each other
_DEAR = frozenset({
    *("pattern", "patternProperties", "propertyNames", "uniqueItems", "contains", "if", "not", "$ref", "$dynamicRef"),
    *("dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "anyOf", "oneOf", "allOf"),
})  # fmt: skip


def checked_by(schema: Json, values: Json) -> Json:
    """Drop from a schema what could take long: regular expressions, circular references. Raises Malformed."""
    if not isinstance(schema, dict):
        raise Malformed("The schema must be a JSON object.")
    left = _without(schema)
    if objects(left) > _MOST_CHECKED:
        raise Malformed(f"The schema holds more than {_MOST_CHECKED} objects.")
    steps = _Steps(left).all()
    if steps * (1 + _parts(values)) > _MOST_STEPS:
        raise Malformed("The schema and the values are too much to be checked here.")
    return left


def is_dear(value: Json) -> bool:
    """Tell whether this, taken for a schema, could keep Prefect busy."""
    return objects(value) > _MOST_CHECKED or any(part.keys() & _DEAR for part in _objects(value))


def objects(value: Json) -> int:
    return sum(1 for _ in _objects(value))


def of_modest_size(values: Json, what: str) -> None:
    """Judge values that Prefect checks, one by one, against a schema. Raises Malformed."""
    if _parts(values) > _MOST_VALUES:
        raise Malformed(f"{what} hold more than {_MOST_VALUES} values.")


def kept(schema: Json, what: str) -> None:
    """Judge a schema or template that Prefect checks when it is stored and whenever it is used. Raises Malformed."""
    if objects(schema) > MOST_STORED:
        raise Malformed(f"{what} holds more than {MOST_STORED} objects.")


def _objects(value: Json) -> Iterator[dict[str, Any]]:
    """Schemas may be true and false, too, so each item of a list counts."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left.extend(part.values())
        elif isinstance(part, list):
            yield from ({} for item in part if not isinstance(item, dict))
            left.extend(part)


def _parts(values: Json) -> int:
    count, left = 0, [(values, 0)]
    while left:
        part, depth = left.pop()
        if depth > _DEEPEST:
            raise Malformed("The values are nested too deeply.")
        if isinstance(part, dict | list):
            count += len(part)
            left.extend((item, depth + 1) for item in (part.values() if isinstance(part, dict) else part))
    return count


def _without(schema: Json) -> Json:
    if not isinstance(schema, dict):
        return schema if isinstance(schema, bool) else {}
    left: dict[str, Any] = {key: value for key, value in schema.items() if key in _CHEAP}
    left |= {key: schema[key] for key in _LISTS if isinstance(schema.get(key), list)}
    if schema.get("format") in _FORMATS:
        left["format"] = schema["format"]
    for key, value in schema.items():
        if isinstance(value, str) and key == "$ref" and _PLACE.fullmatch(value):
            left[key] = value
        elif key in _SCHEMAS | {"items"} and isinstance(value, list):
            left[key] = [_without(item) for item in value]
        elif key in _SCHEMA:
            left[key] = _without(value)
        elif key in _NAMED and isinstance(value, dict):
            left[key] = {name: _without(item) for name, item in value.items()}
    return left


class _Steps:
    """How many objects one value is held against, references followed. Those that come back to where they began are
    taken out on the way."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._known: dict[str, int] = {}
        self._open: set[str] = set()

    def all(self) -> int:
        return self._of(self._schema)

    def _of(self, schema: Json) -> int:
        if not isinstance(schema, dict):
            return 1 + (sum(map(self._of, schema)) if isinstance(schema, list) else 0)
        steps = 1 + sum(len(schema.get(key, ())) for key in _LISTS)
        for key in (*_SCHEMA, *_SCHEMAS):
            steps += self._of(schema[key]) if key in schema else 0
        for key in _NAMED:  # definitions are worked through as well: when the schema itself is checked
            steps += sum(map(self._of, schema.get(key, {}).values()))
        if "$ref" in schema:
            steps += self._of_reference(schema)
        if steps > _MOST_STEPS:
            raise Malformed("The schema is too much to be checked here.")
        return steps

    def _of_reference(self, schema: dict[str, Any]) -> int:
        place = schema["$ref"]
        if place in self._open:
            del schema["$ref"]
            return 0
        if len(self._open) > _LONGEST:
            raise Malformed("The schema's references lead too far.")
        if place not in self._known:
            _, under, name = place.split("/")
            self._open.add(place)
            self._known[place] = self._of(self._schema.get(under, {}).get(name, {}))
            self._open.discard(place)
        return self._known[place]
