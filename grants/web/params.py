"""What an address says, read strictly."""

from __future__ import annotations

_DIGITS = 18  # any number of them is a bigint of PostgreSQL's


def row_id(text: str) -> int | None:
    """The id that `text` spells; None for what cannot be one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
