"""What a credential looks like: made here, told from typing errors here, known elsewhere by its digest alone.

`stint_<id>_<secret><checksum>`. The checksum is for scanners that look for lost tokens and for slips of the hand:
it keeps nobody out. Django-free: the gate reads tokens with it, too.
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
SECRET_LENGTH = 43  # of 62 signs: 256 bits
CHECKSUM_LENGTH = 6

PREFIXES = {"token": "stint", "gate_session": "stints", "ticket": "stintt"}
_TOKEN = re.compile(
    rf"(?P<prefix>stint[st]?)_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII
)


class Minted(NamedTuple):
    """A new credential. `token` is for whoever it is made for, once; `digest` is what is kept."""

    key_id: str
    token: str
    digest: bytes

    def __repr__(self) -> str:
        return f"Minted({self.key_id})"  # a traceback or a log line must not show the token


def mint(kind: str) -> Minted:
    """A new `token`, `gate_session` or `ticket`. Raises KeyError for anything else."""
    key_id = _random(ID_LENGTH)
    body = f"{PREFIXES[kind]}_{key_id}_{_random(SECRET_LENGTH)}"
    token = body + _checksum(body)
    return Minted(key_id, token, _digest(token))


def read(text: str, kind: str = "") -> bytes | None:
    """The digest that `text` is known by; None if it is no credential of ours, or not of that kind."""
    matched = _TOKEN.fullmatch(text)
    if matched is None or (kind and PREFIXES[kind] != matched["prefix"]):
        return None
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return _digest(text)


def _digest(token: str) -> bytes:
    # One round is enough: nobody guesses 256 random bits, and the gate does this for each call.
    return hashlib.sha256(token.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    rest, signs = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, sign = divmod(rest, len(ALPHABET))
        signs = ALPHABET[sign] + signs
    return signs
