"""Schedules, judged before Prefect stores them: its scheduler computes each one again and again, in the one process
that answers all callers, and one at which it fails stops all the others."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from grants.catalog.levels import Level
from grants.gate.decision.types import Json
from grants.gate.prefect.reading import crons, rrules
from grants.gate.prefect.reading.days import Looks
from grants.gate.prefect.reading.finds import Malformed, a_list, an_object

_MOST = 25  # of one deployment: Prefect makes up to a hundred runs ahead for each
_OFTENEST = 60.0  # seconds: a schedule that is more frequent fills the pool, and takes `manage`
_RAREST = 10 * 366 * 86_400.0
_SCHEDULE = frozenset({"active", "schedule", "max_scheduled_runs", "parameters", "slug", "replaces"})
_KINDS = {
    "interval": frozenset({"interval", "anchor_date", "timezone"}),
    "cron": frozenset({"cron", "day_or", "timezone"}),
    "rrule": frozenset({"rrule", "timezone"}),
}
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
_TIME = re.compile(r"(19[7-9]\d|20\d\d)-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_DURATION = re.compile(
    r"P(?:(\d{1,3})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9})(?:\.\d{1,6})?S)?)?"
)
_UNITS = (604_800, 86_400, 3_600, 60, 1)
_AHEAD = frozenset({"start_time", "end_time", "min_time", "min_runs", "max_runs"})
_MOST_RUNS = 100
_MOST_DAYS = 366


def today() -> date:
    """Today by the host's clock: only years matter."""
    return datetime.now(UTC).date()


def schedules_need(schedules: Json, now: date, others: Sequence[Json] = ()) -> Level:
    """Give the level: `operate`, or `manage` where one brings parameters, which are not checked, or is too frequent.

    Raises Malformed for one that Prefect could not work out in time, besides the `others` that the deployment has.
    """
    items = [an_object(item, _SCHEDULE, "A schedule") for item in a_list([] if schedules is None else schedules)]
    new = [item["schedule"] for item in items if item.get("schedule") is not None]
    if len(items) > _MOST or (
        new and len(new) + len(others) > _MOST
    ):  # an item without a schedule names one of the others
        raise Malformed(f"A deployment has {_MOST} schedules at most.")
    looks = Looks(now)
    for other in others if new else ():
        with suppress(Malformed):  # stored without this gate
            judge(other, looks)
    often = [judge(schedule, looks) for schedule in new]
    with_parameters = any(item.get("parameters") not in (None, {}) for item in items)
    return Level.MANAGE if with_parameters or any(often) else Level.OPERATE


def judge(schedule: Json, looks: Looks) -> bool:
    """Tell whether it may come more than once a minute. Raises Malformed."""
    kinds = [kind for kind in _KINDS if isinstance(schedule, dict) and kind in schedule]
    if len(kinds) != 1:
        raise Malformed("A schedule has an interval, a cron expression or an rrule.")
    kind = kinds[0]
    schedule = an_object(schedule, _KINDS[kind], f"A schedule by {kind}")
    zone = schedule.get("timezone", "UTC")
    if not (zone is None and kind != "rrule") and not (isinstance(zone, str) and _ZONE.fullmatch(zone)):
        raise Malformed("The timezone of a schedule is a name as Europe/Berlin.")
    if kind == "interval":
        _time(schedule.get("anchor_date"), "An anchor_date")
        return _often(schedule["interval"])
    text = schedule[kind]
    if not isinstance(text, str):
        raise Malformed(f"A schedule's {kind} is a text.")
    if kind == "rrule":
        rrules.judge(text, looks)
        return False
    if schedule.get("day_or") not in (None, True, False):
        raise Malformed("day_or is true or false.")
    return crons.judge(text, looks, either=schedule.get("day_or") is not False)


def ahead_judged(body: Json, now: date) -> None:
    """Judge how many runs Prefect is to make, and from when. Raises Malformed."""
    body = an_object({} if body is None else body, _AHEAD)
    begins = _time(body.get("start_time"), "start_time")
    _time(body.get("end_time"), "end_time")
    if begins is not None and begins > now + timedelta(days=_MOST_DAYS):
        raise Malformed("start_time is a year from now at most.")
    for name, most in (("min_runs", _MOST_RUNS), ("max_runs", _MOST_RUNS), ("min_time", _MOST_DAYS * 86_400)):
        value = body.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= most):
            raise Malformed(f"{name} is a number up to {most}.")


def _often(interval: Json) -> bool:
    seconds = math.nan
    if isinstance(interval, int | float) and not isinstance(interval, bool):
        seconds = float(min(max(interval, 0), _RAREST + 1))
    elif isinstance(interval, str) and (m := _DURATION.fullmatch(interval)) and any(m.groups()):
        seconds = float(sum(int(part or 0) * unit for part, unit in zip(m.groups(), _UNITS, strict=True)))
    if not 1 <= seconds <= _RAREST:
        raise Malformed("An interval is between a second and ten years: a number of seconds, or as PT15M.")
    return seconds < _OFTENEST


def _time(value: Json, what: str) -> date | None:
    if value is None:
        return None
    m = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        if m is not None:
            return date(*map(int, m.groups()))
    except ValueError:
        pass  # there is no 30 February
    raise Malformed(f"{what} is a time between 1970 and 2099, as 2026-01-01T00:00:00Z.")
