"""Read what a call names, and make asks of it: the parts that all guards and lines of the table use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from grants.adapters.orchestrators.prefect import SERVER
from grants.catalog.levels import Key, Level
from grants.gate.decision.ids import UUID
from grants.gate.decision.types import ANY, Ask, Code, Found, Json, Lookup, Match, Refusal

_NAME = re.compile(r"[^/%&<>\x00-\x1f\x7f]{1,500}")  # what Prefect takes as a name, and what fits in a path

# Kinds that are found by a name that people type: a name that does not exist must look like one without a grant.
_NAMED = {
    "deployment_name": "deployment",
    "pool": "pool",
    "pool_queue": "pool",
    "block_name": "block",
    "flow_name": "flow",
    "artifact_key": "artifact",
}


class Malformed(Exception):
    """The body is not what the route takes; the text says why. The functions that read bodies turn it into a 400."""


# For numbers that pass the bounds of a guard: arithmetic that fails is a fault of the body, not of the gate.
OVERFLOWN = Refusal(400, Code.BODY, why="A number in the body is out of all bounds.")


# Reading.


def an_object(body: Json, known: Collection[str], what: str = "The body") -> dict[str, Json]:
    """Give the body if it is an object of known keys: the gate cannot judge a key that only the server knows."""
    if not isinstance(body, dict):
        raise Malformed(f"{what} must be a JSON object.")
    if unknown := body.keys() - known:
        raise Malformed(f"{what} holds a key that this gate does not know: {min(unknown)[:80]!r}.")
    return body


def a_list(body: Json, what: str = "The body", most: int = 1000) -> list[Json]:
    if not isinstance(body, list):
        raise Malformed(f"{what} must be a JSON list.")
    if len(body) > most:
        raise Malformed(f"{what} holds more than {most} items.")
    return body


def an_id(value: Json, what: str) -> str:
    """Give an id in lower case. Other spellings that the server would take are refused."""
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise Malformed(f"{what} must be an id.")
    return value.lower()


def a_name(value: Json, what: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value in {".", ".."}:
        raise Malformed(f"{what} must be a name.")
    return value


def found_by(kind: str, value: Json, what: str) -> Lookup:
    return Lookup(kind, a_name(value, what) if kind in _NAMED else an_id(value, what))


def wanted(find: str, match: Match, body: Json) -> tuple[Lookup, ...]:
    """Read what one `find` of the table names: kind:path:x, kind:path:x/y, kind:query:x, kind:body:x."""
    kind, where, which = find.split(":")
    match where:
        case "path":
            names = [a_name(match.params[name], name) for name in which.split("/")]
            return (Lookup(kind, "/".join(names) if len(names) > 1 or kind in _NAMED else an_id(names[0], which)),)
        case "query":
            values = [value for name, value in match.target.query if name == which]
            if len(values) != 1:
                raise Malformed(f"The query must hold {which} exactly once.")
            return (found_by(kind, values[0], which),)
        case "body":
            value = body.get(which) if isinstance(body, dict) else None
            return (found_by(kind, value, which),)
    raise ValueError(find)


# Asking.


def server(match: Match) -> Key:
    return Key(match.connection, *SERVER.key)


def anywhere(match: Match, *levels: Level) -> tuple[Key, ...]:
    """Keys for any resource of the connection on which a grant holds one of these levels."""
    return tuple(Key(match.connection, "any", level.word) for level in levels)


def signed_in(match: Match) -> tuple[Ask, ...]:
    return (Ask((server(match),), ANY),)


def on_server(match: Match, need: Level, *also: Key) -> Ask:
    return Ask((server(match), *also), need)


def on(match: Match, lookup: Lookup, found: Found, need: Level, also: Sequence[Key] = ()) -> Ask:
    """Ask for `need` on what a lookup found. Only with `manage` or `work` here is a caller told that it is missing."""
    named = None
    if kind := _NAMED.get(lookup.kind):
        named = (kind, lookup.id.split("/")[0] if lookup.kind == "pool_queue" else lookup.id)
    known = found.get(lookup)
    if known is None:
        lineage = (server(match), *anywhere(match, Level.MANAGE, Level.WORK), *also)
        return Ask(lineage, need, named, missing=True)
    return Ask((*known.lineage, *also), need, named)


def on_all(match: Match, lookups: Iterable[Lookup], found: Found, need: Level) -> tuple[Ask, ...]:
    return tuple(on(match, lookup, found, need) for lookup in lookups)


def on_block(match: Match, lookup: Lookup, found: Found, need: Level) -> tuple[Ask, ...]:
    """Ask for `need` on a block and on those that it is made of."""
    inner = fact(found, lookup, "references") or ()
    within = [Ask((Key(match.connection, "block", str(ref)), server(match)), need) for ref in inner]
    return (on(match, lookup, found, need), *within)


def fact(found: Found, lookup: Lookup, name: str) -> Json:
    """Give a fact of a lookup; None, too, where Prefect has no such thing: then nobody passes anyway."""
    known = found.get(lookup)
    return None if known is None else known.facts.get(name)
