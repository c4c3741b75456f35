"""The first page: what waits for this person, what they hold, what happened; for admins, trouble first."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.models import IdP, Subject
from grants import clock
from grants.catalog.models import Connection
from grants.due import worker_beats
from grants.lifecycle import bindings, who
from grants.lifecycle.models import Grant, Request, RequestItem, RoleBinding
from grants.policy import versions
from grants.web import along, history, role_words, timeline, words
from grants.web.context import shell_of
from grants.web.lanes import lanes
from grants.web.signed_in import signed_in

WAITING_SHOWN = 5
RECENT = 6
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
    held = who.held_by(me)
    trouble = list(_trouble(now)) if roles.sees_all(me) else []
    context = {
        "now": now,
        "title": _title(len(waiting), len(trouble), len({grant.resource_id for grant in held})),
        "lead": _lead(waiting, held, now),
        "trouble": trouble,
        "waiting": waiting[:WAITING_SHOWN],
        "waiting_more": max(0, len(waiting) - WAITING_SHOWN),
        "held": held,
        "lanes": lanes(held, now, timezone.get_current_timezone()),
        "pending": _pending(me, now),
        "recent": history.rows(_recent(me), now),
    }
    return render(request, "home.html", context)


def _pending(me: Subject, now: datetime) -> list[Request]:
    mine = Request.objects.filter(Q(requester=me) | Q(beneficiary=me), state="pending", lapses_at__gt=now)
    return list(mine.prefetch_related(along.items()).order_by("-pk")[:WAITING_SHOWN])


def _recent(me: Subject) -> list[RequestItem]:
    """What was decided or ended of one's own, latest first."""
    # Both people stand on the request, so two indexes give these few; over items it would be all that there ever were.
    closed = Request.objects.filter(Q(requester=me) | Q(beneficiary=me)).exclude(state="pending")
    latest = list(closed.order_by("-closed_at", "pk").values_list("pk", flat=True)[:RECENT])
    items = RequestItem.objects.filter(request__in=latest)
    items = items.select_related("request__requester", "beneficiary", "resource__connection")
    return list(items.order_by("-request__closed_at", "pk")[:RECENT])


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


def _trouble(now: datetime) -> list[Trouble]:
    return [*_role_trouble(now), *_catalog_trouble(), *_people_trouble(), *_policy_trouble(), *_worker_trouble(now)]


def _role_trouble(now: datetime) -> list[Trouble]:
    """Roles that should be taken or given by now: how many at each provider, and what stands in the way."""
    by_idp: dict[tuple[str, bool], list[RoleBinding]] = {}
    for binding in bindings.overdue(now):
        by_idp.setdefault((role_words.provider(binding.idp), role_words.is_giving(binding)), []).append(binding)
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
    troubled = Connection.objects.filter(~Q(error="") | Q(held__gt=0)).order_by("slug")
    href = reverse("connections")
    found = []
    for connection in troubled:
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
    for idp in IdP.objects.exclude(error="").order_by("slug"):
        where, text = role_words.provider(idp), idp.error
        title = f"{where[0].upper()}{where[1:]} needs a look"
        if idp.unread:
            title = f"People and teams of {where} could not be read"
            reason = text.removeprefix(IdP.UNREAD)
            text = f"{reason} Who joined or left since the last reading is not known here; it is read again by itself."
        found.append(Trouble("warning", title, text, reverse("status"), "Status"))
    return found


def _policy_trouble() -> list[Trouble]:
    """Nothing in force, what is in force can't be read any more, or a newer file was refused."""
    row, href, found = versions.in_force_row(), reverse("policy"), []
    if row is None:
        text = "Nobody can ask for anything until one is applied."
        found.append(Trouble("bad", "No policy is in force", text, href, "Policy"))
    elif problem := versions.in_force_problem():
        found.append(Trouble("bad", f"{row.ref} can’t be read, so nothing is allowed", problem, href, "Policy"))
    if versions.refusal_since(row):
        kept = f"{row.ref} stays in force." if row else "There was none before."
        found.append(Trouble("warning", "The last policy offered was refused", kept, href, "See why"))
    return found


def _worker_trouble(now: datetime) -> list[Trouble]:
    """No Celery worker has shown a sign of life lately."""
    last = worker_beats().order_by("-at").first()
    if last and now - last.at <= WORKER_STALE:
        return []
    since = f"The last one was heard {words.ago(last.at, now)}." if last else "None has been heard yet."
    text = f"{since} Access still ends on time; catalogs, mail and the signed head of the record wait."
    return [Trouble("bad", "No Celery worker is alive", text, reverse("status"), "Status")]
