"""Judge cron expressions as croniter reads them: one that never matches a date stops Prefect's whole scheduler."""

from __future__ import annotations

import calendar
import re

from grants.gate.prefect.reading.days import Looks, comes, nth_in_month
from grants.gate.prefect.reading.finds import Malformed

_LONGEST = 500
_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_MONTHS = {calendar.month_abbr[n].lower(): str(n) for n in range(1, 13)}
_WEEKDAYS = {calendar.day_abbr[n].lower(): str((n + 1) % 7) for n in range(7)}
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59))  # the sixth are seconds
_PART = re.compile(r"(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")
_NTH = re.compile(r"(\d)#([1-5])|l(\d)")
_UNKNOWN = (
    "This gate cannot tell when this cron expression comes. Five fields of numbers, names, *, -, / and , will do."
)


def judge(text: str, looks: Looks, *, either: bool) -> bool:
    """Tell whether it may match more than once a minute. `either`: a day of the month or of the week suffices."""
    fields = text.lower().split()
    if len(text) > _LONGEST or len(fields) not in (1, 5, 6):
        raise Malformed(_UNKNOWN)
    if len(fields) == 1:
        if fields[0] not in _ALIASES:
            raise Malformed(_UNKNOWN)
        return False
    *_times, day, month, weekday = (
        _values(fields[0], 0),
        _values(fields[1], 1),
        fields[2],
        _values(_named(fields[3], _MONTHS), 3),
        _named(fields[4], _WEEKDAYS),
    )
    _judge_days(day, month or frozenset(range(1, 13)), weekday, looks, either=either)
    seconds = _values(fields[5], 5) if len(fields) == 6 else frozenset({0})
    return seconds is None or len(seconds) > 1


def _judge_days(day: str, months: frozenset[int], weekday: str, looks: Looks, *, either: bool) -> None:
    in_month, with_last = _of_month(day)
    in_week, nth = _of_week(weekday)

    def of_month(day: int, last: int, weekday: int) -> bool:
        here = in_month is None or day in in_month or (with_last and day == last)
        return here and (not nth or of_week(day, last, weekday))  # which croniter checks, too

    def of_week(day: int, last: int, weekday: int) -> bool:
        cron = (weekday + 1) % 7
        return in_week is None or cron in in_week or any((cron, n) in nth for n in nth_in_month(day, last))

    def both(day: int, last: int, weekday: int) -> bool:
        return of_month(day, last, weekday) and of_week(day, last, weekday)

    # Where either suffices, croniter computes both all the same and takes the earlier.
    apart = either and in_month is not None and in_week is not None
    for fits in (of_month, of_week) if apart else (both,):
        comes(months, looks, fits, "cron expression")


def _of_month(text: str) -> tuple[frozenset[int] | None, bool]:
    """The days, and whether the last one is among them."""
    if text == "?":
        return None, False
    parts = text.split(",")
    rest = [part for part in parts if part != "l"]
    values = _values(",".join(rest), 2) if rest else frozenset[int]()
    return values, len(rest) < len(parts)


def _of_week(text: str) -> tuple[frozenset[int] | None, frozenset[tuple[int, int]]]:
    """The days, Sunday being 0, and those that are the nth or the last (-1) of the month."""
    if text == "?":
        return None, frozenset()
    parts = text.split(",")
    found = [(part, _NTH.fullmatch(part)) for part in parts]
    nth = frozenset((int(m[1] or m[3]) % 7, int(m[2] or -1)) for _, m in found if m)
    rest = [part for part, m in found if not m]
    if rest and nth:
        raise Malformed(_UNKNOWN)  # croniter accepts no such mixture
    values = _values(",".join(rest), 4) if rest else frozenset[int]()
    if values is not None:
        values = frozenset(value % 7 for value in values)
        if len(values) == 7:
            values = None
    return values, nth


def _values(text: str, field: int) -> frozenset[int] | None:
    """What a field means; None for all of it."""
    low, high = _FIELDS[field]
    values: set[int] = set()
    for part in text.split(","):
        m = _PART.fullmatch(part)
        if m is None:
            raise Malformed(_UNKNOWN)
        first, step = int(m[2] or low), int(m[4] or 1)
        after = int(m[3]) if m[3] else high if m[1] or m[4] else first
        if not (low <= first <= high and low <= after <= high and step):
            raise Malformed(_UNKNOWN)
        if first <= after:
            values.update(range(first, after + 1, step))
        else:  # past the end of the year or the week, where croniter begins anew
            values.update(range(first, high + 1, step))
            values.update(range(low, after + 1, step))
    return None if values >= set(range(low, high + 1)) else frozenset(values)


def _named(text: str, names: dict[str, str]) -> str:
    return re.sub(r"[a-z]{3}", lambda m: names.get(m[0], m[0]), text)
