"""Grants on one shared axis of twelve hours: where each begins, what is past, what is left, in per cent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from grants.lifecycle import standing
from grants.lifecycle.models import Grant
from grants.web.templatetags.stint import percent

NEAR = 8  # per cent: closer to "now" than this, a tick's word would lie under it
BACK, AHEAD, STEP = timedelta(hours=4), timedelta(hours=8), timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    at: datetime
    place: str  # first, last or "" between
    near_now: bool  # its word would lie under "now"


@dataclass(frozen=True, slots=True)
class Lane:
    grant: Grant
    state: str
    start: float
    start_shown: bool  # it began on the axis, so its post stands
    past: float  # width
    left: float  # width
    end: float
    end_shown: bool


@dataclass(frozen=True, slots=True)
class Lanes:
    now: float
    ticks: tuple[Tick, ...]
    lanes: tuple[Lane, ...]


def lanes(grants: Iterable[Grant], now: datetime, zone: tzinfo) -> Lanes:
    """The axis starts on a full hour of the person's wall clock, about four hours ago."""
    begin = (now - BACK).astimezone(zone).replace(minute=0, second=0, microsecond=0)
    end = begin + BACK + AHEAD
    here = percent(now, begin, end)
    return Lanes(here, _ticks(begin, end, here), tuple(_lane(grant, begin, end, now, here) for grant in grants))


def _ticks(begin: datetime, end: datetime, here: float) -> tuple[Tick, ...]:
    moments = [begin + STEP * number for number in range(int((end - begin) / STEP) + 1)]
    ticks = []
    for moment in moments:
        x = percent(moment, begin, end)
        place = {0: "first", len(moments) - 1: "last"}.get(moments.index(moment), "")
        ticks.append(Tick(x, moment, place, abs(x - here) < NEAR))
    return tuple(ticks)


def _lane(grant: Grant, begin: datetime, end: datetime, now: datetime, here: float) -> Lane:
    start, stop = percent(grant.starts_at, begin, end), percent(grant.over_at, begin, end)
    return Lane(
        grant=grant,
        state=standing.state_of(grant.starts_at, grant.over_at, now),
        start=start,
        start_shown=grant.starts_at >= begin,
        past=round(max(0.0, here - start), 2),
        left=round(max(0.0, stop - here), 2),
        end=stop,
        end_shown=grant.over_at <= end,
    )
