"""JSON bodies: parsed strictly, so that they have one meaning, and serialised anew for the orchestrator.

The cost of parsing one is bounded before, by counting characters: eight MB of `{}` take two seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from grants.gate.decision.types import Code, Json, Refusal

LARGEST_ANSWER = 8 * 1024 * 1024  # of an orchestrator's
DEEPEST = 64
MOST_SIGNS = 100_000  # brackets and commas: a batch of 10,000 log lines has 60,000
MOST_DIGITS = 100  # of a number: the time to parse one grows with their square
MOST_ESCAPES = 1_000_000  # backslashes: each one interrupts the reading of a string

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_NOT_BRACKETS = bytes(sign for sign in range(256) if sign not in b"[]{}")


def refused_kind(headers: Mapping[str, str], *, empty: bool) -> Refusal | None:
    """Refuse a body whose type is not JSON: a form of another site can send other types.

    A program that shows its credential in a header may leave the type out, as clients of some
    orchestrators do: no page of another site can send that header without asking the gate first.
    """
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return Refusal(415, Code.BODY, why="The body of this call must not be compressed.")
    kind = headers.get("Content-Type")
    if kind is None and (empty or "Authorization" in headers):
        return None
    name, _, rest = (kind or "").partition(";")
    charset = rest.strip().lower().replace('"', "")
    if name.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        return Refusal(415, Code.BODY, why="The body has to be application/json, in UTF-8.")
    return None


def parse(raw: bytes) -> Json | Refusal:
    """Parse a caller's body; None where it is empty. A body that two parsers could read differently is refused."""
    if not raw.strip(b" \t\r\n"):
        return None
    if refusal := _too_much(raw):
        return refusal
    try:
        body = json.loads(
            raw.decode(),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
        if b"\\ud" in raw or b"\\uD" in raw:
            dump_in_parts(body)  # half a surrogate pair can be parsed and not serialised
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, NotOneThing) else "It cannot be read."
        return Refusal(400, Code.BODY, why=f"The body is not proper JSON. {why}")
    return body


def loads(raw: bytes) -> Json:
    """Parse an orchestrator's answer; None where it is empty. Raises ValueError."""
    # A Python call for each object and number: between two of them another thread can run.
    return json.loads(raw, object_hook=_unchanged, parse_int=_whole, parse_float=_real) if raw else None


def dump(body: Json) -> bytes:
    """Serialise a body. Raises ValueError for what JSON cannot express."""
    return _ENCODER.encode(body).encode()


def dump_in_parts(body: Json) -> bytes:
    """Serialise a body to the same bytes by many short calls: between two of them another thread can run."""
    parts: list[str] = []
    _write(body, parts.append, DEEPEST)
    return "".join(parts).encode()


def _write(body: Json, put: Callable[[str], None], levels: int) -> None:
    if levels and body and isinstance(body, list):
        for number, item in enumerate(body):
            put("," if number else "[")
            _write(item, put, levels - 1)
        put("]")
    elif levels and body and isinstance(body, dict):
        for number, (key, item) in enumerate(body.items()):
            put(("," if number else "{") + _ENCODER.encode(key) + ":")
            _write(item, put, levels - 1)
        put("}")
    else:
        put(_ENCODER.encode(body))


class NotOneThing(ValueError):
    """A body could mean two things. The text of this error is the gate's own and may be told to the caller."""


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise NotOneThing("A key comes twice in one object.")
    return whole


def _refuse_constant(word: str) -> float:
    raise NotOneThing(f"{word} is no number.")


def _whole(digits: str) -> int:
    return int(_bounded_digits(digits))


def _real(digits: str) -> float:
    return float(_bounded_digits(digits))


def _bounded_digits(digits: str) -> str:
    if len(digits) > MOST_DIGITS:
        raise NotOneThing(f"A number has more than {MOST_DIGITS} digits.")
    return digits


def _finite(digits: str) -> float:
    number = _real(digits)
    if not math.isfinite(number):
        raise NotOneThing("A number is too large.")
    return number


def _too_much(raw: bytes) -> Refusal | None:
    """Refuse a body that would cost more to parse than its length suggests; it is counted, not parsed."""
    if raw.count(b"\\") > MOST_ESCAPES:
        return Refusal(413, Code.TOO_LARGE, why="The JSON holds too many escapes.")
    brackets = raw.count(b"[") + raw.count(b"{")
    if brackets <= DEEPEST and brackets + raw.count(b",") <= MOST_SIGNS:
        return None
    bare = _without_texts(raw)
    if bare is None or bare.count(b"[") + bare.count(b"{") + bare.count(b",") > MOST_SIGNS:
        return Refusal(413, Code.TOO_LARGE, why=f"The JSON holds more than {MOST_SIGNS:,} brackets and commas.")
    depth = 0
    for bracket in bare.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return Refusal(400, Code.BODY, why="The JSON is nested too deeply.")
    return None


def _without_texts(raw: bytes) -> bytes | None:
    """What lies outside of strings; None for more strings than could be between MOST_SIGNS brackets and commas.

    A backslash outside of a string is no JSON, and the parser reads nothing behind it.
    """
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"')[::2]) if plain.count(b'"') <= 4 * (MOST_SIGNS + 1) else None


def _unchanged(row: dict[str, Json]) -> dict[str, Json]:
    return row
