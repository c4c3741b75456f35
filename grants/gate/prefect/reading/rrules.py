"""Judge whether dateutil, which Prefect uses, computes a recurrence rule (RFC 5545) in time.

It walks from the rule's start to now at each look, and until the year 9999 where nothing comes. So a rule has to be
plain enough to be told here: when it comes, and how many steps there are to it.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

from grants.gate.prefect.reading.days import RARE, Looks, length, nth_in_month
from grants.gate.prefect.reading.finds import Malformed

_LONGEST = 6_500  # Prefect's own
_MOST_RULES = 5
_DAY = 24 * 60
_YEARLY, _MONTHLY, _WEEKLY, _DAILY, _HOURLY, _MINUTELY = "YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"
_MINUTES = {_HOURLY: 60, _MINUTELY: 1}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_TIME = r"\d{8}(?:T\d{6}Z?)?"
_START = re.compile(rf"DTSTART(?:;VALUE=DATE-TIME|;TZID=[A-Z][A-Z0-9_+/-]{{0,60}})*:({_TIME})")
_DATES = re.compile(rf"(?:RDATE|EXDATE)(?:;VALUE=DATE-TIME|;TZID=[A-Z][A-Z0-9_+/-]{{0,60}})*:{_TIME}(?:,{_TIME})*")
_NUMBER = re.compile(r"[+-]?\d{1,4}")
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_RANGES = {
    "BYMONTH": (1, 12),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (1, 53),
    "BYSETPOS": (-366, 366),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSECOND": (0, 59),
}
_UNKNOWN = "This gate cannot tell when this rule comes: {}."
_OFTEN = "A rule comes once a minute at most. For more, give an interval."
_EARLY = date(1970, 1, 1)
_LATE = date(2100, 1, 1)
_END = 2400
_LAST = date(_END, 1, 1)
_MOST_PERIODS = 2_000  # 38 years of weeks
_ALL = frozenset(range(1, 13))  # months
_ANCHOR = (date(2020, 1, 1), 0)  # Prefect's, where a rule has no start of its own


class _Rule(NamedTuple):
    freq: str
    interval: int
    start: date
    minute: int  # of the day, at which it starts
    monday: int  # the weekday that a week begins with
    by: dict[str, frozenset[int]]
    plain: frozenset[int]  # weekdays
    nth: frozenset[tuple[int, int]]  # weekday, and which of them


def judge(text: str, looks: Looks) -> None:
    """Judge a rule. Raises Malformed with what is wrong and what to do."""
    if len(text) > _LONGEST or not text.isascii():
        raise Malformed(_UNKNOWN.format("it is too long"))
    lines = text.upper().split()
    starts = [m for m in map(_START.fullmatch, lines) if m]
    rules = [line for line in lines if not line.startswith("DTSTART") and not _DATES.fullmatch(line)]
    if len(starts) != sum(line.startswith("DTSTART") for line in lines) or len(starts) > 1:
        raise Malformed(_UNKNOWN.format("it has one DTSTART at most, as in DTSTART:20260101T090000"))
    if len(rules) > _MOST_RULES or not lines or any(line.startswith("EXRULE") for line in rules):
        raise Malformed(_UNKNOWN.format(f"it has {_MOST_RULES} rules at most, and no EXRULE: name dates in EXDATE"))
    start = _moment(starts[0][1]) if starts else _ANCHOR
    for line in rules:
        rule = _read(line.removeprefix("RRULE:"), start)
        looks.walk(_steps(rule, looks.today))
        _comes(rule, looks)


# Reading.


def _read(text: str, start: tuple[date, int]) -> _Rule:
    pairs = [pair.partition("=")[::2] for pair in text.split(";")]
    parts = dict(pairs)
    if len(parts) != len(pairs) or ("BYDAY" in parts and "BYWEEKDAY" in parts):
        raise Malformed(_UNKNOWN.format("a part of it comes twice"))
    freq, interval = parts.pop("FREQ", ""), _numbers(parts.pop("INTERVAL", "1"), 1, 9999)
    if freq == "SECONDLY":
        raise Malformed(_OFTEN)
    if freq not in {_YEARLY, _MONTHLY, _WEEKLY, _DAILY, *_MINUTES} or len(interval) != 1:
        raise Malformed(_UNKNOWN.format("FREQ is a word from YEARLY to MINUTELY, INTERVAL a number above 0"))
    for name, form in (("COUNT", r"\d{1,9}"), ("UNTIL", _TIME)):
        if name in parts and not re.fullmatch(form, parts.pop(name)):
            raise Malformed(_UNKNOWN.format(f"its {name} is none"))
    monday = parts.pop("WKST", "MO")
    days = [_BYDAY.fullmatch(day) for day in _list(parts.pop("BYDAY", parts.pop("BYWEEKDAY", "")))]
    if monday not in _WEEKDAYS or None in days:
        raise Malformed(_UNKNOWN.format("its weekdays are none"))
    if unknown := parts.keys() - _RANGES.keys():
        raise Malformed(_UNKNOWN.format(f"it has a part {min(unknown)[:20]}"))
    by = {name: frozenset(_numbers(value, *_RANGES[name])) for name, value in parts.items()}
    known = [(int(day[1] or 0), _WEEKDAYS.index(day[2])) for day in days if day]
    if freq not in (_YEARLY, _MONTHLY):  # dateutil drops the numbers there
        known = [(0, day) for _, day in known]
    plain = frozenset(day for n, day in known if n == 0)
    nth = frozenset((day, n) for n, day in known if n != 0)
    rule = _Rule(freq, min(interval), *start, _WEEKDAYS.index(monday), by, plain, nth)
    return _with_days_of_start(_told(rule))


def _told(rule: _Rule) -> _Rule:
    """Refuse rules whose cost cannot be told."""
    by = rule.by
    if len(by.get("BYSECOND", ())) > 1:
        raise Malformed(_OFTEN)
    if "BYWEEKNO" in by and (rule.freq != _YEARLY or by.keys() & {"BYMONTH", "BYMONTHDAY", "BYYEARDAY"}):
        raise Malformed(_UNKNOWN.format("BYWEEKNO stands alone in a YEARLY rule"))
    if "BYSETPOS" in by and (rule.freq in _MINUTES or len(by["BYSETPOS"]) > 31):
        raise Malformed(_UNKNOWN.format("BYSETPOS stands in rules of days and longer"))
    if rule.freq in _MINUTES and _DAY % (rule.interval * _MINUTES[rule.freq]):
        if by or rule.plain:
            raise Malformed(_UNKNOWN.format("an INTERVAL that is no part of a day takes no BY besides"))
    elif rule.freq in _MINUTES and not _minutes(rule):
        raise Malformed(RARE.format("rule"))
    return rule


def _with_days_of_start(rule: _Rule) -> _Rule:
    """Give a rule that names no days those of its start."""
    if rule.plain or rule.nth or rule.by.keys() & {"BYWEEKNO", "BYYEARDAY", "BYMONTHDAY"}:
        return rule
    if rule.freq == _WEEKLY:
        return rule._replace(plain=frozenset({rule.start.weekday()}))
    if rule.freq not in (_YEARLY, _MONTHLY):
        return rule
    days = {"BYMONTHDAY": frozenset({rule.start.day})}
    months = {"BYMONTH": frozenset({rule.start.month})} if rule.freq == _YEARLY else {}
    return rule._replace(by={**months, **rule.by, **days})


def _list(text: str) -> list[str]:
    return text.split(",") if text else []


def _numbers(text: str, low: int, high: int) -> list[int]:
    values = [int(item) if _NUMBER.fullmatch(item) else high + 1 for item in text.split(",")]
    if not all(low <= value <= high and (value or low == 0) for value in values):
        raise Malformed(_UNKNOWN.format("a number in it is none, or out of its range"))
    return values


def _moment(text: str) -> tuple[date, int]:
    try:
        day = date.fromisoformat(text[:8])
    except ValueError:
        raise Malformed(_UNKNOWN.format("its DTSTART is no date")) from None
    if not _EARLY <= day < _LATE:
        raise Malformed(_UNKNOWN.format("its DTSTART is between 1970 and 2099"))
    return day, int(text[9:11] or 0) * 60 + int(text[11:13] or 0)


# Judging.


def _minutes(rule: _Rule) -> list[int]:
    """The times of the day at which a rule of hours or minutes matches."""
    every, by = rule.interval * _MINUTES[rule.freq], rule.by
    hours, minutes = by.get("BYHOUR"), by.get("BYMINUTE") if rule.freq == _MINUTELY else None
    of_day = range(rule.minute % every, _DAY, every)
    return [at for at in of_day if (hours is None or at // 60 in hours) and (minutes is None or at % 60 in minutes)]


def _steps(rule: _Rule, today: date) -> int:
    """The days from its start to a year from now."""
    times = len(rule.by.get("BYMINUTE", (0,)))
    if rule.freq in _MINUTES:
        a_day = _DAY / (rule.interval * _MINUTES[rule.freq]) * (times if rule.freq == _HOURLY else 1)
    else:
        a_day = len(rule.by.get("BYHOUR", (0,))) * times / (rule.interval if rule.freq == _DAILY else 1)
    return math.ceil((max((today - rule.start).days, 0) + 365) * max(a_day, 1))


def _comes(rule: _Rule, looks: Looks) -> None:
    times = len(rule.by.get("BYHOUR", (0,))) * len(rule.by.get("BYMINUTE", (0,)))
    positions, whole = rule.by.get("BYSETPOS", frozenset({1})), "BYSETPOS" in rule.by
    for period in _periods(rule, looks.today):
        here, last = 0, _EARLY
        for day in period:
            looks.take(1, "rule")
            if day >= rule.start and _fits(rule, day):
                here, last = here + times, day
                if not whole and day >= looks.today:
                    return
        if last >= looks.today and any(abs(at) <= here for at in positions):
            return
    raise Malformed(RARE.format("rule"))


def _periods(rule: _Rule, today: date) -> Iterator[Iterable[date]]:
    """The days of each of its periods, from the one with today or its start in it."""
    every, start, at, months = rule.interval, rule.start, max(today, rule.start), rule.by.get("BYMONTH", _ALL)
    match rule.freq:
        case "YEARLY":
            for year in range(start.year + (at.year - start.year) // every * every, _END, every):
                yield (day for month in sorted(months) for day in _month(year, month))
        case "MONTHLY":
            begun, now = (day.year * 12 + day.month - 1 for day in (start, at))
            for month in range(begun + (now - begun) // every * every, _END * 12, every):
                yield _month(month // 12, month % 12 + 1) if month % 12 + 1 in months else (_EARLY,)
        case "WEEKLY":
            monday = start - timedelta(days=(start.weekday() - rule.monday) % 7)
            begun = (at - monday).days // 7 // every * every
            for week in range(begun, min(begun + _MOST_PERIODS * every, (_LAST - monday).days // 7), every):
                yield (monday + timedelta(days=week * 7 + n) for n in range(7))
        case _:
            every = every if rule.freq == _DAILY else 1
            begun = (at - start).days // every * every
            for days in range(begun, min(begun + _MOST_PERIODS * every, (_LAST - start).days), every):
                yield (start + timedelta(days=days),)


def _month(year: int, month: int) -> Iterator[date]:
    return (date(year, month, day) for day in range(1, length(year, month) + 1))


def _fits(rule: _Rule, day: date) -> bool:
    by, weekday = rule.by, day.weekday()
    if (rule.plain and weekday not in rule.plain) or day.month not in by.get("BYMONTH", _ALL):
        return False
    last = length(day.year, day.month)
    if "BYMONTHDAY" in by and not by["BYMONTHDAY"] & {day.day, day.day - last - 1}:
        return False
    if "BYWEEKNO" in by and day.isocalendar().week not in by["BYWEEKNO"]:
        return False
    of_year = day.toordinal() - date(day.year, 1, 1).toordinal() + 1
    year_days = 366 if calendar.isleap(day.year) else 365
    if "BYYEARDAY" in by and not by["BYYEARDAY"] & {of_year, of_year - year_days - 1}:
        return False
    by_year = rule.freq == _YEARLY and "BYMONTH" not in by
    counted = nth_in_month(of_year, year_days) if by_year else nth_in_month(day.day, last)
    return not rule.nth or any((weekday, n) in rule.nth for n in counted)
