"""The first page: what waits for this person, what they hold, what happened; for admins, trouble first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.models import IdP, Subject
from grants import clock
from grants.lifecycle import along, bindings, trouble, visibility
from grants.lifecycle.models import Grant, Request, RoleBinding
from grants.policy import versions
from grants.web import words
from grants.web.context import shell_of
from grants.web.history import rows as history
from grants.web.home.lanes import lanes
from grants.web.signed_in import signed_in
from grants.web.words import idp_roles, timeline

WAITING_SHOWN = 5
WORKER_STALE = timedelta(seconds=30)


class Trouble(NamedTuple):
    """What an admin should look at now, and what still holds meanwhile."""

    state: str
    title: str
    text: str
    href: str
    link: str


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    me, now = signed_in(request), clock.of_page()
    waiting = shell_of(request).waiting
    along.people_of(waiting[:WAITING_SHOWN])
    held = visibility.held_by(me)
    looks = list(_trouble(me, now)) if roles.sees_all(me) else []
    context = {
        "now": now,
        "title": _title(len(waiting), len(looks), len({grant.resource_id for grant in held})),
        "lead": _lead(waiting, held, now),
        "trouble": looks,
        "waiting": waiting[:WAITING_SHOWN],
        "waiting_more": max(0, len(waiting) - WAITING_SHOWN),
        "held": held,
        "lanes": lanes(held, now, timezone.get_current_timezone()),
        "pending": visibility.awaited_by(me, WAITING_SHOWN),
        "recent": history.rows(visibility.closed_of(me), now),
    }
    return render(request, "home/home.html", context)


def _title(waiting: int, trouble: int, held: int) -> str:
    if waiting:
        return f"{timeline.number(waiting).capitalize()} request{'s wait' if waiting > 1 else ' waits'} for you"
    if trouble:
        return f"{timeline.number(trouble).capitalize()} thing{'s need' if trouble > 1 else ' needs'} a look"
    if held:
        return f"You hold access to {timeline.number(held)} resource{'s' if held > 1 else ''}"
    return "Nothing waits for you"


def _lead(waiting: list[Request], held: list[Grant], now: datetime) -> str:
    if not held:
        return "You hold no access now."
    ends = f"ends in {words.length(held[0].over_at - now)}"
    if len(held) == 1:
        return f"You hold {held[0].level} on {held[0].resource.name}. It {ends}." if waiting else f"It {ends}."
    told = (
        f"You hold access to {words.count(len({grant.resource_id for grant in held}), 'resource')}. " if waiting else ""
    )
    return f"{told}The next one {ends}."


def _trouble(me: Subject, now: datetime) -> Iterator[Trouble]:
    there = trouble.at(now, me)
    if there.roles:
        yield from _role_trouble(now)
    if there.connections:
        yield from _catalog_trouble()
    if there.providers:
        yield from _people_trouble()
    yield from _policy_trouble(refused=there.policies)
    yield from _worker_trouble(there.worker, now)


def _role_trouble(now: datetime) -> list[Trouble]:
    """Roles that should be taken or given by now: how many at each provider, and what stands in the way."""
    by_idp: dict[tuple[str, bool], list[RoleBinding]] = {}
    for binding in bindings.overdue(now):
        by_idp.setdefault((idp_roles.provider(binding.idp), idp_roles.is_giving(binding)), []).append(binding)
    found = []
    for (where, giving), late in sorted(by_idp.items(), key=lambda each: each[0][1]):
        what = "not given yet" if giving else "overdue"
        title = f"{words.count(len(late), 'role')} {what} at {where}, due {words.ago(late[0].owed_from or now, now)}"
        cause = next((binding.last_error for binding in late if binding.last_error), "No worker has taken it up.")
        meanwhile = "until then access lives at the gate alone" if giving else "access itself has ended on time"
        text = f"{cause} It is tried again for ever, at most 15 seconds apart; {meanwhile}."
        found.append(Trouble("bad", title, text, reverse("status"), "Each of them"))
    return found


def _catalog_trouble() -> list[Trouble]:
    """Connections whose last sync failed, or that lost too much at once."""
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
        found.append(Trouble("warning", title, text, href, "Connections"))
    return found


def _people_trouble() -> list[Trouble]:
    """Providers whose people could not be read, or that show something else that is wrong."""
    found = []
    for idp in trouble.providers():
        where, text = idp_roles.provider(idp), idp.error
        title = f"{where[0].upper()}{where[1:]} needs a look"
        if idp.unread:
            title = f"People and teams of {where} could not be read"
            reason = text.removeprefix(IdP.UNREAD)
            text = f"{reason} Who joined or left since the last reading is not known here; it is read again by itself."
        found.append(Trouble("warning", title, text, reverse("status"), "Status"))
    return found


def _policy_trouble(*, refused: bool) -> Iterator[Trouble]:
    """Nothing in force, what is in force can't be read any more, or a newer file was refused."""
    href, problem = reverse("policy"), versions.in_force_problem()
    row = versions.in_force_row() if refused or problem or versions.in_force() is None else None
    if problem and row:
        yield Trouble("bad", f"{row.ref} can’t be read, so nothing is allowed", problem, href, "Policy")
    elif versions.in_force() is None:
        text = "Nobody can ask for anything until one is applied."
        yield Trouble("bad", "No policy is in force", text, href, "Policy")
    if refused:
        kept = f"{row.ref} stays in force." if row else "There was none before."
        yield Trouble("warning", "The last policy offered was refused", kept, href, "See why")


def _worker_trouble(last: datetime | None, now: datetime) -> Iterator[Trouble]:
    """No Celery worker has shown a sign of life lately."""
    if last and now - last <= WORKER_STALE:
        return
    since = f"The last one was heard {words.ago(last, now)}." if last else "None has been heard yet."
    text = f"{since} Access still ends on time; catalogs, mail and the signed head of the record wait."
    yield Trouble("bad", "No Celery worker is alive", text, reverse("status"), "Status")
