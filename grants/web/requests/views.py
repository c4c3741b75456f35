"""Show and decide one request; list the requests that wait for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import Conflict, UserError
from accounts.models import Subject
from grants import clock
from grants.lifecycle import along, decide, visibility
from grants.lifecycle.models import Request
from grants.lifecycle.read_models import request as request_read
from grants.lifecycle.read_models.request import AskedBecause
from grants.lifecycle.stages import left_to_decide
from grants.policy.wording import duration
from grants.web.context import shell_of
from grants.web.params import row_id
from grants.web.signed_in import signed_in
from grants.web.words import counts, things, timeline

PAGE = visibility.DECIDED - 1
BACK = ("inbox", "access", "home")  # pages that a decision may return to
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)

_SOURCES = {"team": "you are in team {value}", "person": "you are named in the rule", "owners": "you own it"}


class Note(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=decide.NOTE_MAX,
        error_messages={"max_length": "A note has %(limit_value)d characters at most; this has %(show_value)d."},
    )


@require_safe
def request_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one request to a person who may see it; 404 for others."""
    return _page(request, _visible(request, pk))


@require_POST
def approve(request: HttpRequest, pk: int) -> HttpResponse:
    return _decide(request, pk, decide.approve, "Approved {ref}: {thing}.")


@require_POST
def deny(request: HttpRequest, pk: int) -> HttpResponse:
    return _decide(request, pk, decide.deny, "Denied {ref}: {thing}. {name} is told.")


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    def act(asked: Request, *, by: Subject, note: str) -> Request:  # noqa: ARG001 (as the others)
        return decide.withdraw(asked, by=by)

    return _decide(request, pk, act, "Withdrew {ref}: {thing}.")


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """List what waits for this person, or, with ?tab=decided, what they decided."""
    subject, now = signed_in(request), clock.of_page()
    waiting = shell_of(request).waiting
    tab = "decided" if request.GET.get("tab") == "decided" else "waiting"
    context = {
        "now": now,
        "tab": tab,
        "waiting_count": len(waiting),
        "oldest": waiting[0] if waiting else None,
    }
    before, problem = _before(request)
    if tab == "decided":
        found: Sequence[Any] = visibility.decided_by(subject, before)
    else:
        # The oldest lapse first, so they come first. The next page begins after the last one shown.
        found = [asked for asked in waiting if not before or asked.pk > before][: PAGE + 1]
        along.people_of(found)
    more = found[PAGE - 1].pk if len(found) > PAGE else None
    context |= {"rows": found[:PAGE], "more": more, "before": before, "problem": problem}
    return render(request, "requests/inbox.html", context, status=400 if problem else 200)


def _before(request: HttpRequest) -> tuple[int | None, str]:
    raw = request.GET.get("before", "")
    if not raw:
        return None, ""
    before = row_id(raw)
    return before, "" if before is not None else "This page of the inbox does not exist; here is the first."


def _visible(request: HttpRequest, pk: int) -> Request:
    asked = visibility.request_of(signed_in(request), pk)
    if asked is None:
        raise Http404
    return asked


def _decide(request: HttpRequest, pk: int, act: Callable[..., Request], done: str) -> HttpResponse:
    """Act, then show the request: by redirect, or in place for htmx. A refusal keeps the note."""
    asked = _visible(request, pk)
    form = Note(request.POST)
    if not form.is_valid():
        return _page(
            request,
            asked,
            note=request.POST.get("note", ""),
            note_error=str(form.errors["note"][0]),
            status=400,
        )
    note = form.cleaned_data["note"]
    try:
        act(asked, by=signed_in(request), note=note)
    except UserError as error:
        status = 409 if isinstance(error, Conflict) else 403
        return _page(request, _visible(request, pk), note=note, problem=error.reason, status=status)
    said = done.format(ref=asked.ref, thing=_thing(asked), name=asked.beneficiary.name)
    if request.htmx:  # type: ignore[attr-defined]
        return _page(request, _visible(request, pk), said=said)
    messages.success(request, said)
    back = request.POST.get("back")
    return redirect(back) if back in BACK else redirect("request", pk)


def _page(request: HttpRequest, asked: Request, *, status: int = 200, **said: str) -> HttpResponse:
    template = "requests/request.html"
    if request.htmx:  # type: ignore[attr-defined]
        template = "requests/request.html#matter"
        # htmx swaps 409 and 422 into the page (head.html); a 403 may be a whole error page.
        status = HTTPStatus.UNPROCESSABLE_ENTITY if status in REFUSED else status
    return render(request, template, _context(signed_in(request), asked) | said, status=status)


def _context(viewer: Subject, asked: Request) -> dict[str, Any]:
    view = request_read.of(asked, viewer)
    return {
        "view": view,
        "asked": asked,
        "now": view.now,
        "title": title(asked, viewer),
        "stages": [(stage, left_to_decide(stage, view.stages)) for stage in view.stages],
        "why_you": why_you(view.asked_because),
        "note_max": decide.NOTE_MAX,
        "steps": timeline.steps(
            asked, view.stages, view.decisions, view.grants, viewer=viewer, now=view.now, enders=view.enders
        ),
    }


def title(asked: Request, viewer: Subject) -> str:
    """Say the request in a sentence: "Ada Okafor asks to run etl/prod for 30 min"."""
    who_asks = "You" if viewer.pk == asked.beneficiary_id else asked.beneficiary.name
    if asked.beneficiary.team:  # a machine, which may have the name of a person
        who_asks = f"{who_asks} of team {asked.beneficiary.team.slug}"
    asks = "asked" if asked.state != Request.State.PENDING else "ask" if who_asks == "You" else "asks"
    return f"{who_asks} {asks} to {_thing(asked)}"


def _thing(asked: Request) -> str:
    """Say what is asked: "run etl/prod for 30 min", "use 3 things for 4 h"."""
    items = list(asked.items.all())
    length = duration(asked.duration)
    if len(items) != 1:
        return f"use {counts.number(len(items))} things for {length}"
    return f"{things.does(items[0].level)} {items[0].resource.name} for {length}"


def why_you(because: AskedBecause | None) -> str:
    """Say why this person is asked, and by which rule: "You own it, rule pool-owners"."""
    if because is None:
        return ""
    view, source = because.view, because.source
    rules = counts.joined(view.stage.rules)
    rule = f", rule{'s' if len(view.stage.rules) > 1 else ''} {rules}" if rules else ""
    if view.fallback:
        return f"You stand in: too few of {view.stage.title} can decide{rule}"
    said = _SOURCES[source.kind].format(value=source.value) if source else "you are among those asked"
    return f"{said[0].upper()}{said[1:]}{rule}"
