"""Show and manage service identities: the machines of a team, their access, and the delivery of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import roles, service_identities
from accounts.errors import NotAllowed
from accounts.models import Subject, Team
from grants import clock
from grants.lifecycle import visibility
from grants.lifecycle.models import Grant
from grants.tokens.delivery.base import begin, end, status_of
from grants.web.signed_in import signed_in

RECENT = 20
PAGE = 50


class ServiceForm(forms.Form):
    name = forms.CharField(max_length=200, strip=True, error_messages={"required": "Give it a name."})


class NewForm(ServiceForm):
    team = forms.ModelChoiceField(Team.objects.none(), error_messages={"invalid_choice": "Choose a team of yours."})


@require_http_methods(["GET", "HEAD", "POST"])
def services(request: HttpRequest) -> HttpResponse:
    """List those of the person's teams, or all for admins and auditors; POST adds one."""
    me = signed_in(request)
    teams = _teams(me)
    form = NewForm(request.POST or None)
    form.fields["team"].queryset = teams  # type: ignore[attr-defined]
    if request.method == "POST" and form.is_valid():
        try:
            made = service_identities.add(form.cleaned_data["team"], form.cleaned_data["name"], by=me)
        except NotAllowed as error:
            form.add_error("name", error.reason)
        else:
            messages.success(request, f"Added {made.name}. Ask for what it needs.")
            return redirect("service", made.pk)
    now = clock.of_page()
    page = Paginator(_visible(me).order_by("team__slug", "-active", "name", "pk"), PAGE).get_page(
        request.GET.get("page")
    )
    held: dict[int, list[Grant]] = {}
    for grant in _held(list(page), now):
        held.setdefault(grant.beneficiary_id, []).append(grant)
    rows = [(one, held.get(one.pk, [])) for one in page]
    picks = [(str(team.pk), team.slug) for team in teams]
    context = {"form": form, "teams": picks, "rows": rows, "page": page, "now": now}
    return render(request, "service_identities/services.html", context, status=422 if form.errors else 200)


@require_safe
def service(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, _one(request, pk))


@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    one, form = _one(request, pk), ServiceForm(request.POST)
    if not form.is_valid():
        return _page(request, one, form=form)
    return _do(request, one, "Renamed.", lambda me: service_identities.rename(one, form.cleaned_data["name"], by=me))


@require_POST
def switch(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch off: the gate refuses its next call, and its grants are closed. Switch on: it may ask again."""
    one = _one(request, pk)
    if request.POST.get("to") == "on":
        return _do(request, one, f"{one.name} is switched on.", lambda me: service_identities.switch_on(one, by=me))
    told = f"{one.name} is switched off. Its next call is refused."
    return _do(request, one, told, lambda me: service_identities.switch_off(one, by=me))


@require_POST
def delivery(request: HttpRequest, pk: int) -> HttpResponse:
    one = _one(request, pk)
    if request.POST.get("to") == "on":
        return _do(request, one, "Its tokens are delivered from now on.", lambda me: begin(one, by=me))
    return _do(request, one, "No more tokens are delivered.", lambda me: end(one, by=me))


def _do(request: HttpRequest, one: Subject, told: str, act: Callable[[Subject], object]) -> HttpResponse:
    try:
        act(signed_in(request))
    except NotAllowed as error:
        return _page(request, one, problem=error.reason)
    messages.success(request, told)
    return redirect("service", one.pk)


def _page(request: HttpRequest, one: Subject, *, problem: str = "", form: ServiceForm | None = None) -> HttpResponse:
    one.refresh_from_db()
    me, now = signed_in(request), clock.of_page()
    assert one.team
    context: dict[str, Any] = {
        "service": one,
        "now": now,
        "problem": problem,
        "form": form or ServiceForm(initial={"name": one.name}),
        "held": list(_held([one], now)),
        "waiting": visibility.awaited_by(one),
        "past": list(Grant.objects.filter(beneficiary=one).exclude(pk__in=Grant.objects.live_at(now).values("pk"))
                     .select_related("resource__connection").order_by("-pk")[:RECENT]),
        "may_manage": service_identities.may_manage(one.team, me),
        "may_ask": service_identities.acts_for(me, one) and one.active,
        "delivery": status_of(one),
    }  # fmt: skip
    status = 403 if problem else 422 if form and form.errors else 200
    return render(request, "service_identities/service.html", context, status=status)


def _held(those: Sequence[Subject], now: datetime) -> QuerySet[Grant]:
    live = Grant.objects.live_at(now).filter(beneficiary__in=those).select_related("resource__connection")
    return live.order_by(Coalesce("ended_at", "ends_at"), "pk")


def _teams(me: Subject) -> QuerySet[Team]:
    if roles.is_admin(me):
        return Team.objects.order_by("slug")
    return Team.objects.filter(memberships__subject=me).order_by("slug")


def _visible(me: Subject) -> QuerySet[Subject]:
    if roles.sees_all(me):
        return Subject.objects.filter(kind=Subject.Kind.SERVICE).select_related("team")
    return service_identities.owned_by(me)


def _one(request: HttpRequest, pk: int) -> Subject:
    return get_object_or_404(_visible(signed_in(request)), pk=pk)
