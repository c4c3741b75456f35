"""Show the first page: what waits for the person, their access, what happened; for admins, alerts first."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from grants.lifecycle.read_models import mine
from grants.lifecycle.read_models.mine import Overview
from grants.policy.wording import duration
from grants.web.home.lanes import lanes
from grants.web.home.notices import notices
from grants.web.signed_in import signed_in
from grants.web.words import counts


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    view = mine.overview_of(signed_in(request))
    trouble = list(notices(view.alerts, view.now)) if view.alerts else []
    context = {
        "view": view,
        "now": view.now,
        "title": _title(len(view.to_decide), len(trouble), view.resources_held),
        "lead": _lead(view),
        "trouble": trouble,
        "waiting": view.to_decide[: mine.WAITING],
        "waiting_more": max(0, len(view.to_decide) - mine.WAITING),
        "lanes": lanes(view.held, view.now, timezone.get_current_timezone()),
    }
    return render(request, "home/home.html", context)


def _title(waiting: int, trouble: int, held: int) -> str:
    if waiting:
        return f"{counts.number(waiting).capitalize()} request{'s wait' if waiting > 1 else ' waits'} for you"
    if trouble:
        return f"{counts.number(trouble).capitalize()} thing{'s need' if trouble > 1 else ' needs'} a look"
    if held:
        return f"You hold access to {counts.number(held)} resource{'s' if held > 1 else ''}"
    return "Nothing waits for you"


def _lead(view: Overview) -> str:
    if not view.held:
        return "You hold no access now."
    first, waiting = view.held[0], view.to_decide
    ends = f"ends in {duration(first.over_at - view.now)}"
    if len(view.held) == 1:
        return f"You hold {first.level} on {first.resource.name}. It {ends}." if waiting else f"It {ends}."
    told = f"You hold access to {counts.count(view.resources_held, 'resource')}. " if waiting else ""
    return f"{told}The next one {ends}."
