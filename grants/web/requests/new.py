"""Show and submit the request form. The preview and the submission share one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts import service_identities, typed
from accounts.errors import Conflict, UserError
from accounts.models import Subject
from grants import clock
from grants.catalog.models import Resource
from grants.catalog.search import search
from grants.lifecycle import visibility
from grants.lifecycle.ask import Preview, Wanted, ask, preview
from grants.lifecycle.models import Request
from grants.lifecycle.read_models.options import Asker, Option, first_choice
from grants.lifecycle.sentences import Says
from grants.policy.rulings import Allowed
from grants.policy.wording import duration
from grants.web.params import row_id
from grants.web.requests.forms import LENGTHS, AskForm, Items, Pick, new_key
from grants.web.signed_in import signed_in

FOUND = 6
NAMED = 2  # if more people are asked, the button has their number
LENGTH_FIELDS = {"length", "minutes", "until"}
UNTIL_SLACK = timedelta(seconds=5)


@dataclass(slots=True)
class Sheet:
    """The form in its current state: the input, its meaning, and its errors."""

    me: Subject
    holder: Subject  # who gets access: the person, or a machine of their teams
    now: datetime
    form: AskForm
    items: Items
    options: dict[int, list[Option]]
    duration: timedelta | None
    seen: Preview | None  # None: no item is chosen yet
    key: str
    problem: str = ""  # why it was not submitted

    @property
    def allowed(self) -> Allowed | None:
        return self.seen.ruling if self.seen and isinstance(self.seen.ruling, Allowed) else None

    @property
    def wanted(self) -> list[Wanted]:
        return [Wanted(pick.resource, pick.level) for pick in self.items.picks]


@require_http_methods(["GET", "POST"])
def request_new(request: HttpRequest) -> HttpResponse:
    """File a request on a POST with do=send; otherwise show the form with a preview."""
    sheet = _read(request)
    if request.method == "POST" and request.POST.get("do") == "send":
        if asked := _send(sheet):
            told = "is granted" if asked.state == Request.State.APPROVED else "is filed"
            messages.success(request, f"{asked.ref} {told}.")
            return redirect("request", asked.pk)
        return render(request, "requests/new.html", _context(sheet, request), status=422)
    return render(request, "requests/new.html", _context(sheet, request))


def _read(request: HttpRequest) -> Sheet:
    me, now = signed_in(request), clock.of_page()
    data = request.POST if request.method == "POST" else request.GET
    items = Items(data, me)
    holder = _holder(me, data.get("for", ""))
    asker = Asker.of(holder, now)
    options = {pick.resource.pk: asker.options(pick.resource) for pick in items.picks}
    for pick in items.picks:
        known = options[pick.resource.pk]
        # Where no level can be chosen, the least one is evaluated, so that the policy gives the reason.
        pick.level = pick.level or first_choice(known) or known[0].level
    form = AskForm(data)
    form.is_valid()
    key = form.cleaned_data.get("key") or new_key()
    sheet = Sheet(me, holder, now, form, items, options, form.duration(now), None, key)
    sheet.duration = _same_as_sent(sheet) or sheet.duration
    if items.picks:
        sheet.seen = preview(sheet.wanted, by=me, beneficiary=holder, duration=sheet.duration)
        if sheet.allowed and sheet.duration and sheet.duration > sheet.allowed.longest:
            form.add_error("length", sheet.seen.problem)
    return sheet


def _holder(me: Subject, text: str) -> Subject:
    """Read for whom; empty is the person; 404 for what is not a machine of their teams."""
    if not text:
        return me
    return get_object_or_404(service_identities.owned_by(me).filter(active=True), pk=row_id(text))


def _same_as_sent(sheet: Sheet) -> timedelta | None:
    """Give "until 18:00", when submitted again, the duration of the first time: it is one request."""
    if sheet.form.cleaned_data.get("length") != "until" or not sheet.form.cleaned_data.get("until"):
        return None
    sent = Request.objects.filter(requester=sheet.me, idempotency_key=sheet.key).first()
    until = sheet.form.cleaned_data["until"]
    return sent.duration if sent and abs(sent.asked_at + sent.duration - until) < UNTIL_SLACK else None


def _send(sheet: Sheet) -> Request | None:
    """File the request, or put the reason why not beside the field or above the button."""
    form, seen = sheet.form, sheet.seen
    if not sheet.items.picks:
        sheet.problem = "Choose what you want access to."
    if sheet.items.errors:
        sheet.problem = "Something was left out above: look again, then send."
    if seen and sheet.allowed:
        reason = form.cleaned_data.get("reason", "")
        has = typed.seen_in(reason)
        if hidden := typed.hidden_in(reason):
            form.add_error("reason", Says.REASON_HIDES.say(character=hidden))
        elif "reason" not in form.errors and has < sheet.allowed.reason_min:
            form.add_error("reason", f"Say why in {sheet.allowed.reason_min} characters or more; this has {has}.")
        if sheet.duration is None and not form.errors.keys() & LENGTH_FIELDS:
            form.add_error("length", "Choose for how long.")
    if sheet.problem or form.errors or sheet.duration is None:
        return None
    try:
        return ask(
            sheet.wanted,
            by=sheet.me,
            beneficiary=sheet.holder,
            duration=sheet.duration,
            reason=form.cleaned_data["reason"],
            idempotency_key=sheet.key,
        )
    except UserError as error:
        sheet.problem = error.reason
        if isinstance(error, Conflict):
            sheet.key = new_key()  # the next submission is a new request
        return None


def _context(sheet: Sheet, request: HttpRequest) -> dict[str, Any]:
    data = request.POST if request.method == "POST" else request.GET
    find = data.get("find", "")[:200]
    return {
        "now": sheet.now,
        "sheet": sheet,
        "for": sheet.holder.pk if sheet.holder != sheet.me else "",
        "holders": list(service_identities.owned_by(sheet.me).filter(active=True)),
        "form": sheet.form,
        "seen": sheet.seen,
        "allowed": sheet.allowed,
        "picks": [(pick, sheet.options[pick.resource.pk]) for pick in sheet.items.picks],
        "lengths": _lengths(sheet),
        "reason": data.get("reason", ""),
        "reason_min": sheet.allowed.reason_min if sheet.allowed else None,
        "find": find,
        "found": _found(sheet.me, find, sheet.items.picks),
        "send_word": _send_word(sheet),
        # It can't be submitted, whatever the reason says.
        "blocked": bool(not sheet.items.picks or (sheet.seen and sheet.seen.problem)),
        "nobody": bool(sheet.seen and sheet.seen.stages and not any(view.approvers for view in sheet.seen.stages)),
        "length_wrong": bool(sheet.form.errors.keys() & LENGTH_FIELDS),  # then the preview shows no end
        "because": _because(sheet.allowed),
    }


def _found(me: Subject, text: str, picks: list[Pick]) -> list[Resource]:
    if not text.strip():
        return []
    resources = visibility.visible_resources(me).filter(retired_at=None).defer("words")
    return list(search(resources.exclude(pk__in=[pick.resource.pk for pick in picks]), text)[:FOUND])


def _lengths(sheet: Sheet) -> list[tuple[int, str, bool, bool]]:
    """List the pills: minutes, words, chosen, enabled. The first that is too long is shown, disabled."""
    allowed = sheet.allowed
    chosen = sheet.form.data.get("length", "")
    offered = set(LENGTHS)
    longest = LENGTHS[-1]
    if allowed:
        longest = int(allowed.longest.total_seconds()) // 60
        offered |= {int(allowed.default.total_seconds()) // 60, longest}
        chosen = chosen or str(int(allowed.default.total_seconds()) // 60)
    over = [minutes for minutes in sorted(offered) if minutes > longest][1:]
    kept = [minutes for minutes in sorted(offered) if minutes not in over or str(minutes) == chosen]
    return [
        (
            minutes,
            duration(timedelta(minutes=minutes)),
            str(minutes) == chosen,
            minutes <= longest or str(minutes) == chosen,
        )
        for minutes in kept
    ]


def _send_word(sheet: Sheet) -> str:
    """Label the button with what it does, with names."""
    if not sheet.seen or not sheet.seen.stages:
        return "Get access" if sheet.allowed else "Ask"
    first = sheet.seen.stages[0].approvers
    if len(first) <= NAMED:
        return "Ask " + " or ".join(approver.name for approver in first) if first else "Ask"
    return f"Ask {len(first)} people"


def _because(allowed: Allowed | None) -> list[tuple[str, str, str]]:
    """List term, value and rule for each field of the ruling."""
    if allowed is None:
        return []
    titles = ", then ".join(stage.title for stage in allowed.stages) or "nobody needs to be asked"
    return [
        ("Who approves", titles, allowed.because.get("stages", "")),
        ("Longest", duration(allowed.longest), allowed.because.get("longest", "")),
        ("Reason", f"{allowed.reason_min} characters", allowed.because.get("reason", "")),
    ]
