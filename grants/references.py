"""How a row is called everywhere: R-17, G-41. Pure: the record, pages, files and the gate write and read it so."""

from __future__ import annotations

import re
from typing import NamedTuple

LETTERS = {"request": "R", "grant": "G", "subject": "S", "connection": "C", "policy": "P"}
_KINDS = {letter: kind for kind, letter in LETTERS.items()}
_REFERENCE = re.compile(r"([A-Za-z])-([0-9]{1,18})")  # 18 digits fit a bigint


class Reference(NamedTuple):
    kind: str  # a key of LETTERS
    pk: int


def ref(kind: str, pk: int) -> str:
    """Write a reference: "R-17"."""
    return f"{LETTERS[kind]}-{pk}"


def read(text: str) -> Reference | None:
    """Read a reference that somebody typed or that the record holds; None for any other text."""
    match = _REFERENCE.fullmatch(text.strip())
    kind = _KINDS.get(match[1].upper()) if match else None
    return Reference(kind, int(match[2])) if match and kind else None
