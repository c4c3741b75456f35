"""Make and read credentials. Only their digest is stored.

The form is `stint_<id>_<secret><checksum>`. The checksum lets secret scanners recognize leaked tokens and finds typing
errors; it is no protection. Free of Django, because the gate reads tokens with it, too.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import NamedTuple

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 16
SECRET_LENGTH = 43  # characters of an alphabet of 62: 256 bits
CHECKSUM_LENGTH = 6

PREFIXES = {"token": "stint", "gate_session": "stints", "ticket": "stintt"}
_TOKEN = re.compile(
    rf"(?P<prefix>stint[st]?)_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII
)


class Minted(NamedTuple):
    """A new credential. `token` is handed over once; `digest` is stored."""

    key_id: str
    token: str
    digest: bytes

    def __repr__(self) -> str:
        return f"Minted({self.key_id})"  # a traceback or a log line must not show the token


def mint(kind: str) -> Minted:
    """Make a new `token`, `gate_session` or `ticket`. Raises KeyError for any other kind."""
    key_id = _random(ID_LENGTH)
    body = f"{PREFIXES[kind]}_{key_id}_{_random(SECRET_LENGTH)}"
    token = body + _checksum(body)
    return Minted(key_id, token, _digest(token))


def read(text: str, kind: str = "") -> bytes | None:
    """Return the digest of `text`; None if it is not a credential of ours, or not of that kind."""
    matched = _TOKEN.fullmatch(text)
    if matched is None or (kind and PREFIXES[kind] != matched["prefix"]):
        return None
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return _digest(text)


def _digest(token: str) -> bytes:
    # One round of hashing is enough: 256 random bits cannot be guessed, and the gate hashes on each call.
    return hashlib.sha256(token.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    rest, signs = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, sign = divmod(rest, len(ALPHABET))
        signs = ALPHABET[sign] + signs
    return signs
