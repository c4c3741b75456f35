"""A check box of a filter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    word: str
    count: int | None  # None: more than MOST match, so nothing is counted
    on: bool
