"""How states look and read on a page."""

from __future__ import annotations

from typing import NamedTuple

from grants.lifecycle.standing import WORDS


class Mark(NamedTuple):
    """A tone of states.css, an icon of icons.svg, and a word."""

    tone: str
    icon: str
    word: str


# Keys are states of requests and of grants (lifecycle.standing), and of notices.
STATES = {
    "pending": Mark("pending", "hourglass", WORDS["pending"]),
    "approved": Mark("granted", "circle-check", WORDS["approved"]),
    "denied": Mark("denied", "circle-x", WORDS["denied"]),
    "withdrawn": Mark("withdrawn", "undo-2", WORDS["withdrawn"]),
    "lapsed": Mark("lapsed", "alarm-clock-off", WORDS["lapsed"]),
    "granted": Mark("granted", "circle-check", WORDS["granted"]),
    "scheduled": Mark("scheduled", "calendar-clock", WORDS["scheduled"]),
    "ending": Mark("ending", "timer", WORDS["ending"]),
    "ended": Mark("ended", "timer-off", WORDS["ended"]),
    "overdue": Mark("overdue", "triangle-alert", "Overdue"),
    "whole": Mark("granted", "shield-check", "Whole"),
    "good": Mark("granted", "circle-check", "Working"),
    "bad": Mark("denied", "triangle-alert", "Trouble"),
    "warning": Mark("ending", "triangle-alert", "Attention"),
    "info": Mark("info", "bell", "Note"),
}
