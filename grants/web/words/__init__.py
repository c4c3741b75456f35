"""How time, kinds, levels and states read on a page. Pure: `now` and the zone come from the caller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

ENDING = timedelta(minutes=30)  # before its end a live grant is "ending", or a quarter of its length if that is less


class Mark(NamedTuple):
    """How a state looks: its tone in states.css, its icon in icons.svg, its word."""

    tone: str
    icon: str
    word: str


# Keys are states of requests, of grants as derived from their window, and of notices.
STATES = {
    "pending": Mark("pending", "hourglass", "Pending"),
    "approved": Mark("granted", "circle-check", "Approved"),
    "denied": Mark("denied", "circle-x", "Denied"),
    "withdrawn": Mark("withdrawn", "undo-2", "Withdrawn"),
    "lapsed": Mark("lapsed", "alarm-clock-off", "Lapsed"),
    "granted": Mark("granted", "circle-check", "Live"),
    "scheduled": Mark("scheduled", "calendar-clock", "Scheduled"),
    "ending": Mark("ending", "timer", "Ends soon"),
    "ended": Mark("ended", "timer-off", "Ended"),
    "overdue": Mark("overdue", "triangle-alert", "Overdue"),
    "whole": Mark("granted", "shield-check", "Whole"),
    "good": Mark("granted", "circle-check", "Working"),
    "bad": Mark("denied", "triangle-alert", "Trouble"),
    "warning": Mark("ending", "triangle-alert", "Attention"),
    "info": Mark("info", "bell", "Note"),
}


class Kind(NamedTuple):
    icon: str
    word: str
    words: str


KINDS = {
    "server": Kind("plug", "Server", "servers"),
    "pool": Kind("server", "Work pool", "work pools"),
    "deployment": Kind("package", "Deployment", "deployments"),
    "block": Kind("lock", "Block", "blocks"),
    "dag": Kind("workflow", "DAG", "DAGs"),
}

# What a level lets somebody do. A kind's own sentence comes first.
LEVELS = {
    "view": "See runs, their states and logs.",
    "view pool": "See the pool, its queues, its runs and their logs.",
    "view block": "See that the block exists and its type, not its value.",
    "run": "Also start, cancel and retry runs, with the parameters the deployment accepts.",
    "run pool": "Also start, cancel and retry runs of every deployment on the pool.",
    "operate": "Also pause, change schedules and concurrency.",
    "operate pool": "Also pause the pool, change schedules, move and reorder queues.",
    "manage": "Also change the definition and job variables. This is running any code.",
    "manage pool": "Also edit the pool and its job variables. This is running any code on its machines.",
    "work": "Poll for runs and execute them. For machines only.",
    "secret": "Read the value of the block.",
    "admin": "Everything on this server but secrets and machine work.",
}
STRONG = frozenset({"manage", "admin", "secret"})  # drawn in orange


def level_means(level: str, kind: str) -> str:
    """What `level` allows on a resource of `kind`, in one sentence."""
    return LEVELS.get(f"{level} {kind}") or LEVELS[level]


def length(of: timedelta) -> str:
    """A duration in its two largest units: "30 min", "2 h 15 min", "1 day 4 h". Rounded down."""
    seconds = max(0, int(of.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days} day{'s' if days > 1 else ''}" + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{minutes} min" if minutes else f"{seconds} s"


def left(until: datetime, now: datetime) -> str:
    """What is left until then: "22 min left", under five minutes with seconds. stint.js says the same."""
    rest = until - now
    if rest <= timedelta(0):
        return "ended"
    if timedelta(minutes=1) <= rest < timedelta(minutes=5):
        minutes, seconds = divmod(int(rest.total_seconds()), 60)
        return f"{minutes} min {seconds} s left"
    return f"{length(rest)} left"


def ago(at: datetime, now: datetime) -> str:
    """How long since: "just now", "12 min ago", "2 h ago", "3 days ago"; one unit is enough."""
    since = now - at
    if since < timedelta(minutes=1):
        return "just now"
    if since < timedelta(hours=1):
        return f"{since // timedelta(minutes=1)} min ago"
    if since < timedelta(days=1):
        return f"{since // timedelta(hours=1)} h ago"
    days = since.days
    return f"{days} day{'s' if days > 1 else ''} ago"


def clock(at: datetime, zone: tzinfo) -> str:
    """The time on the wall in `zone`: "18:23"."""
    return at.astimezone(zone).strftime("%H:%M")


def day(at: datetime, now: datetime, zone: tzinfo) -> str:
    """The day in `zone` as people say it: "today", "yesterday", "tomorrow", "24 Nov", "24 Nov 2025"."""
    there, today = at.astimezone(zone).date(), now.astimezone(zone).date()
    near = {0: "today", 1: "tomorrow", -1: "yesterday"}.get((there - today).days)
    if near:
        return near
    return f"{there.day} {there:%b}" + ("" if there.year == today.year else f" {there.year}")


def when(at: datetime, now: datetime, zone: tzinfo) -> str:
    """A moment in `zone`: "18:23 today", "18:23 tomorrow", "24 Nov 18:23"."""
    word = day(at, now, zone)
    return f"{clock(at, zone)} {word}" if word.isalpha() else f"{word} {clock(at, zone)}"


def zone_word(zone: tzinfo) -> str:
    """A zone by its city: "Berlin", "New York", "UTC"."""
    if isinstance(zone, ZoneInfo):
        return zone.key.rsplit("/", 1)[-1].replace("_", " ")
    return "UTC" if zone is UTC else str(zone)


def count(number: int, one: str, many: str = "") -> str:
    """ "1 request", "2 requests", "no requests"."""
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"


def state_of(starts_at: datetime, over_at: datetime, now: datetime) -> str:
    """A grant's state as its window says: scheduled, granted, ending or ended. Never a column."""
    if now < starts_at:
        return "scheduled"
    if now >= over_at:
        return "ended"
    return "ending" if over_at - now < min(ENDING, (over_at - starts_at) / 4) else "granted"
