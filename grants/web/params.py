"""Read parameters of an address strictly."""

from __future__ import annotations

_DIGITS = 18  # any number with so many digits fits a bigint


def row_id(text: str) -> int | None:
    """Read a row's id; None where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
