"""A request's target in its one spelling, the only one that is sent on. One that could mean two things is refused."""

from __future__ import annotations

import re
from unicodedata import category
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from grants.gate.decision.types import Code, Refusal, Target

LONGEST = 8190  # bytes, as the HTTP parser's own
MOST_PARAMETERS = 100
_SAFE = "-._~!$&'()*+,=:@"  # may stand unencoded in a segment (RFC 3986), except ";"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_DOT = re.compile(r"%2[Ee]")
_PLAIN = re.compile(r"[-A-Za-z0-9._~!$&'()*+,=:@/]*")  # the same encoded and decoded
_FORBIDDEN = frozenset("/\\;#%?")


class _Ambiguous(Exception):
    """The target could mean two things; the text says why."""


def canonical(raw: bytes) -> Target | Refusal:
    """Bring path and query, as they came, into their one spelling. Refuses a target that could mean two things."""
    try:
        return _read(raw)
    except _Ambiguous as why:
        return Refusal(400, Code.TARGET, why=str(why))


def _read(raw: bytes) -> Target:
    if len(raw) > LONGEST:
        raise _Ambiguous("The address is too long.")
    if not raw.startswith(b"/"):
        raise _Ambiguous("The address must start with a slash.")
    if not raw.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in raw):
        raise _Ambiguous("The address holds bytes that must be percent-encoded.")
    if b"#" in raw:
        raise _Ambiguous("The address holds a fragment.")
    path, _, query = raw.decode("ascii").partition("?")
    segments = [_segment(text) for text in path[1:].split("/")]
    if "" in segments[:-1]:  # a trailing slash matters and stays
        raise _Ambiguous("The address holds two slashes in a row.")
    raw_path = path if _PLAIN.fullmatch(path) else "/" + "/".join(quote(segment, safe=_SAFE) for segment in segments)
    pairs = _pairs(query) if query else ()
    target = raw_path + ("?" + urlencode(pairs) if pairs else "")
    if len(target) > LONGEST:
        raise _Ambiguous("The address is too long.")
    return Target("/" + "/".join(segments), raw_path, pairs, target)


def _segment(text: str) -> str:
    """Decode one segment, once. Raises _Ambiguous where a second decoding or another server could read another."""
    if _PLAIN.fullmatch(text) and text not in {".", ".."}:
        return text
    if _LONE_PERCENT.search(text) or _ENCODED_DOT.search(text):
        raise _Ambiguous("The address holds a percent sign or a dot in a misleading encoding.")
    try:
        segment = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise _Ambiguous("The address is not UTF-8.") from None
    if segment in {".", ".."} or not _FORBIDDEN.isdisjoint(segment) or _unprintable(segment):
        raise _Ambiguous("The address holds dots, slashes or characters that servers read differently.")
    return segment


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    if _LONE_PERCENT.search(query):
        raise _Ambiguous("The query holds a percent sign that encodes nothing.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise _Ambiguous("The query is not UTF-8.") from None
    except ValueError:
        raise _Ambiguous("The query holds too many parameters.") from None
    if any(_unprintable(text) for pair in pairs for text in pair):
        raise _Ambiguous("The query holds control characters.")
    return tuple(pairs)


def _unprintable(text: str) -> bool:
    return not text.isprintable() and any(category(char) in {"Cc", "Zl", "Zp"} for char in text)
