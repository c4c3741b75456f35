"""Bodies that are looked into: read whole, understood in one way alone, and written anew for the orchestrator.

What reading one costs is bounded before it is read, by counting signs: eight MB of `{}` are two seconds of work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from grants.gate.decision.types import Code, Json, Refusal

LARGEST_ANSWER = 8 * 1024 * 1024  # of an orchestrator's
DEEPEST = 64
MOST_SIGNS = 100_000  # brackets and commas: a batch of 10,000 log lines has 60,000
MOST_DIGITS = 100  # of a number: what reading one takes grows with their square
MOST_ESCAPES = 1_000_000  # backslashes: a text is read in one go, and each of them is a stop

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_NOT_BRACKETS = bytes(sign for sign in range(256) if sign not in b"[]{}")


def refused_kind(headers: Mapping[str, str], *, empty: bool) -> Refusal | None:
    """A body that is not plainly JSON: what a form or a text field can send from another site is none.

    A program that shows its credential in a header may leave the type out, as clients of some
    orchestrators do: no page of another site can send that header unasked.
    """
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return Refusal(415, Code.BODY, why="A body that is looked into comes uncompressed.")
    kind = headers.get("Content-Type")
    if kind is None and (empty or "Authorization" in headers):
        return None
    name, _, rest = (kind or "").partition(";")
    charset = rest.strip().lower().replace('"', "")
    if name.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        return Refusal(415, Code.BODY, why="The body has to be application/json, in UTF-8.")
    return None


def parse(raw: bytes) -> Json | Refusal:
    """What `raw` says; None where it is empty. Refused where two readers could read two things."""
    if not raw.strip(b" \t\r\n"):
        return None
    if refusal := _too_much(raw):
        return refusal
    try:
        body = json.loads(
            raw.decode(), object_pairs_hook=_once, parse_constant=_never, parse_int=_whole, parse_float=_finite
        )
        if b"\\ud" in raw or b"\\uD" in raw:
            dump_in_parts(body)  # half a surrogate pair can be read, and not be written
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, NotOneThing) else "It cannot be read."
        return Refusal(400, Code.BODY, why=f"The body is not proper JSON. {why}")
    return body


def loads(raw: bytes) -> Json:
    """What an orchestrator's own answer says; None where it is empty. Raises ValueError."""
    # A call of ours for each object and number: between two of them another thread has its turn.
    return json.loads(raw, object_hook=_itself, parse_int=_whole, parse_float=_real) if raw else None


def dump(body: Json) -> bytes:
    """Raises ValueError for what JSON cannot say."""
    return _ENCODER.encode(body).encode()


def dump_in_parts(body: Json) -> bytes:
    """The same bytes, in many short calls instead of one: between two of them another thread has its turn."""
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
    """Its text is ours, and may be told."""


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise NotOneThing("A key comes twice in one object.")
    return whole


def _never(word: str) -> float:
    raise NotOneThing(f"{word} is no number.")


def _whole(digits: str) -> int:
    return int(_few(digits))


def _real(digits: str) -> float:
    return float(_few(digits))


def _few(digits: str) -> str:
    if len(digits) > MOST_DIGITS:
        raise NotOneThing(f"A number has more than {MOST_DIGITS} digits.")
    return digits


def _finite(digits: str) -> float:
    number = _real(digits)
    if not math.isfinite(number):
        raise NotOneThing("A number is too large.")
    return number


def _too_much(raw: bytes) -> Refusal | None:
    """Whether reading it would cost more than its length says: all of it is counted, none of it read."""
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
    """What lies outside of texts; None for more of them than there could be between so many signs.

    A backslash outside is no JSON, and nothing behind it is ever read.
    """
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"')[::2]) if plain.count(b'"') <= 4 * (MOST_SIGNS + 1) else None


def _itself(row: dict[str, Json]) -> dict[str, Json]:
    return row
