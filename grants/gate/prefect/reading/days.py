"""Days that rules match. Days are tried one by one, as Prefect does, but so few that the gate's loop is not blocked:
all schedules of a call share one number of days, and one of Prefect's steps."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import date

from grants.gate.prefect.reading.finds import Malformed

_MOST = 3_000  # of one call
_MOST_STEPS = 120_000  # of one call: every five minutes of a year; Prefect takes some 6 us for each, at each look
_LONGEST = 48  # years that are looked ahead: a Monday that is a 29 February comes 40 years after the last, around 2100

RARE = "This {} never comes, or once in decades. Give it days that its months and its interval have."
_FAR = (
    "There are too many steps from the start of these rules to now. Give them a DTSTART of today, or a cron expression."
)


class Looks:
    """How many days may still be tried for a call, and how many steps its rules may still have."""

    def __init__(self, today: date) -> None:
        self.today = today
        self._left = _MOST
        self._steps = _MOST_STEPS

    def take(self, days: int, what: str) -> None:
        self._left -= days
        if self._left < 0:
            raise Malformed(RARE.format(what))

    def walk(self, steps: int) -> None:
        """Count the steps from the start of a rule to now, which Prefect repeats at each run of its scheduler."""
        self._steps -= steps
        if self._steps < 0:
            raise Malformed(_FAR)


def length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def nth_in_month(day: int, last: int) -> tuple[int, int]:
    """How many of its weekday a month has had with this day, and, negative, how many it still has."""
    return (day + 6) // 7, -((last - day) // 7 + 1)


def comes(months: frozenset[int], looks: Looks, fits: Callable[[int, int, int], bool], what: str) -> None:
    """Raises Malformed unless a day in these months fits: its number, its month's length, its weekday (0: Monday)."""
    for year, month, first in _months(months, looks.today):
        last = length(year, month)
        weekday = date(year, month, 1).weekday()
        looks.take(last, what)
        if any(fits(day, last, (weekday + day - 1) % 7) for day in range(first, last + 1)):
            return
    raise Malformed(RARE.format(what))


def _months(months: frozenset[int], today: date) -> Iterator[tuple[int, int, int]]:
    for year in range(today.year, today.year + _LONGEST):
        for month in sorted(months):
            if year > today.year or month >= today.month:
                yield year, month, today.day if (year, month) == (today.year, today.month) else 1
