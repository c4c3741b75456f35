"""What one person holds, waits for and held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts import roles
from accounts.models import Subject
from grants import clock
from grants.lifecycle import along, decide, standing, trouble, visibility
from grants.lifecycle.models import Grant, Request
from grants.lifecycle.read_models import history
from grants.lifecycle.standing import Standing
from grants.lifecycle.trouble import AdminAlerts

WAITING = 5  # of what waits for somebody, with its people


@dataclass(frozen=True, slots=True)
class MyAccess:
    """One's own access at `now`."""

    now: datetime
    live: Sequence[Grant]  # the first to end first
    waiting: Sequence[Request]
    over: Sequence[tuple[Grant, Standing]]  # the newest first


def access_of(subject: Subject) -> MyAccess:
    now = clock.of_page()
    over = [(grant, standing.of_grant(grant, now)) for grant in visibility.held_last(subject)]
    return MyAccess(now, visibility.held_by(subject), visibility.asked_by(subject), over)


@dataclass(frozen=True, slots=True)
class Overview:
    """Where a person's day begins, at `now`."""

    now: datetime
    to_decide: Sequence[Request]  # all that waits for them; the first WAITING of it with its people
    held: Sequence[Grant]  # the first to end first
    pending: Sequence[Request]
    recent: Sequence[history.Row]  # what was decided or ended of their own
    alerts: AdminAlerts | None  # only for who may look into it

    @property
    def resources_held(self) -> int:
        return len({grant.resource_id for grant in self.held})


def overview_of(subject: Subject) -> Overview:
    now = clock.of_page()
    to_decide = decide.waiting_for(subject)
    along.people_of(to_decide[:WAITING])
    return Overview(
        now=now,
        to_decide=to_decide,
        held=visibility.held_by(subject),
        pending=visibility.awaited_by(subject, WAITING),
        recent=history.rows(visibility.closed_of(subject), now),
        alerts=trouble.at(now, subject) if roles.sees_all(subject) else None,
    )
