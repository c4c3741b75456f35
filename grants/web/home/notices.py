"""Tell an admin what needs attention, and what still works meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from django.urls import reverse

from accounts.models import IdP
from grants.due import BEAT_STALE
from grants.lifecycle import trouble
from grants.lifecycle.trouble import AdminAlerts
from grants.policy import versions
from grants.web.words import counts, idp_roles, times


class Notice(NamedTuple):
    state: str
    title: str
    text: str
    href: str
    link: str


def notices(alerts: AdminAlerts, now: datetime) -> Iterator[Notice]:
    """List what needs attention, the most urgent first."""
    if alerts.roles:
        yield from _role_trouble(now)
    if alerts.connections:
        yield from _catalog_trouble()
    if alerts.providers:
        yield from _people_trouble()
    yield from _policy_trouble(refused=alerts.policies)
    yield from _worker_trouble(alerts.worker, now)


def _role_trouble(now: datetime) -> Iterator[Notice]:
    """Report roles that are late, per provider, with the cause."""
    for late in trouble.late_roles(now):
        what = "not given yet" if late.giving else "overdue"
        where = idp_roles.provider(late.idp)
        title = f"{counts.count(late.n, 'role')} {what} at {where}, due {times.ago(late.since or now, now)}"
        meanwhile = "until then access lives at the gate alone" if late.giving else "access itself has ended on time"
        cause = late.cause or "No worker has taken it up."
        text = f"{cause} It is tried again for ever, at most 15 seconds apart; {meanwhile}."
        yield Notice("bad", title, text, reverse("status"), "Each of them")


def _catalog_trouble() -> list[Notice]:
    """Report connections whose last sync failed, or lost too many resources at once."""
    href = reverse("connections")
    found = []
    for connection in trouble.connections():
        if connection.held:
            title = f"{connection.held} resources of {connection.slug} vanished at once"
            text = "None is retired until you have looked. Access to them keeps ending on time."
        elif not connection.unread:
            title, text = f"{connection.slug} has odd names", connection.error
        else:
            title = f"{connection.slug} could not be read"
            text = f"{connection.error} Asking and deciding work on with what is known."
        found.append(Notice("warning", title, text, href, "Connections"))
    return found


def _people_trouble() -> list[Notice]:
    """Report providers whose people could not be read, or that have another error."""
    found = []
    for idp in trouble.providers():
        where, text = idp_roles.provider(idp), idp.error
        title = f"{where[0].upper()}{where[1:]} needs a look"
        if idp.unread:
            title = f"People and teams of {where} could not be read"
            reason = text.removeprefix(IdP.UNREAD)
            text = f"{reason} Who joined or left since the last reading is not known here; it is read again by itself."
        found.append(Notice("warning", title, text, reverse("status"), "Status"))
    return found


def _policy_trouble(*, refused: bool) -> Iterator[Notice]:
    """Report that no policy is in force, that it can't be read, or that a newer file was refused."""
    href, problem = reverse("policy"), versions.in_force_problem()
    row = versions.in_force_row() if refused or problem or versions.in_force() is None else None
    if problem and row:
        yield Notice("bad", f"{row.ref} can’t be read, so nothing is allowed", problem, href, "Policy")
    elif versions.in_force() is None:
        text = "Nobody can ask for anything until one is applied."
        yield Notice("bad", "No policy is in force", text, href, "Policy")
    if refused:
        kept = f"{row.ref} stays in force." if row else "There was none before."
        yield Notice("warning", "The last policy offered was refused", kept, href, "See why")


def _worker_trouble(last: datetime | None, now: datetime) -> Iterator[Notice]:
    """Report that no Celery worker is alive."""
    if last and now - last <= BEAT_STALE:
        return
    since = f"The last one was heard {times.ago(last, now)}." if last else "None has been heard yet."
    text = f"{since} Access still ends on time; catalogs, mail and the signed head of the record wait."
    yield Notice("bad", "No Celery worker is alive", text, reverse("status"), "Status")
