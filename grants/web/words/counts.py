"""Numbers and lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, one: str, many: str = "") -> str:
    """Say a number of things: "1 request", "2 requests", "no requests"."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"


def joined(names: Sequence[str], last: str = "and") -> str:
    """Join names in a sentence: "Ada", "Ada and Ben", "Ada, Ben and Chiara"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else ""


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def number(count: int) -> str:
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else str(count)
