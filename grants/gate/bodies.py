"""Bodies that are looked into: read whole, understood in one way alone, and written anew for the orchestrator."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from grants.gate.types import Code, Json, Refusal

LARGEST = 8 * 1024 * 1024
DEEPEST = 64

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(sign for sign in range(256) if sign not in b"[]{}")


def refused_kind(headers: Mapping[str, str], *, empty: bool) -> Refusal | None:
    """A body that is not plainly JSON: what a form or a text field can send from another site is none."""
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return Refusal(415, Code.BODY, why="A body that is looked into comes uncompressed.")
    kind = headers.get("Content-Type")
    if kind is None and empty:
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
    if _too_deep(raw):
        return Refusal(400, Code.BODY, why="The JSON is nested too deeply.")
    try:
        body = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_never, parse_float=_finite)
        if b"\\u" in raw:
            dump(body)  # half a surrogate pair can be read, and not be written
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, NotOneThing) else "It cannot be read."
        return Refusal(400, Code.BODY, why=f"The body is not proper JSON. {why}")
    return body


def dump(body: Json) -> bytes:
    """Raises ValueError for what JSON cannot say."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class NotOneThing(ValueError):
    """Its text is ours, and may be told."""


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise NotOneThing("A key comes twice in one object.")
    return whole


def _never(word: str) -> float:
    raise NotOneThing(f"{word} is no number.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotOneThing("A number is too large.")
    return number


def _too_deep(raw: bytes) -> bool:
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False
