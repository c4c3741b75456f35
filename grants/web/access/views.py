"""What I hold and held; one grant, from its window to its end; giving it back, revoking it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import service_identities
from accounts.errors import Conflict, UserError
from accounts.models import Subject
from grants import clock
from grants.lifecycle import access, along, bindings, decide, visibility
from grants.lifecycle.models import Grant
from grants.tokens import issue, usage
from grants.web import words
from grants.web.audit import record
from grants.web.requests.views import does
from grants.web.signed_in import signed_in
from grants.web.words import gate, idp_roles, timeline

TOKEN_MINUTES = (15, 60, 240, 480)  # that are offered; the end of the access is the end of all


@require_safe
def my_access(request: HttpRequest) -> HttpResponse:
    """What this person holds now, waits for, and held last."""
    subject, now = signed_in(request), clock.of_page()
    over = visibility.held_last(subject)
    context = {
        "now": now,
        "live": visibility.held_by(subject),
        "waiting": visibility.asked_by(subject),
        "recent": [(grant, timeline.grant_standing(grant, now)) for grant in over],
    }
    return render(request, "access/access.html", context)


@require_safe
def grant(request: HttpRequest, pk: int) -> HttpResponse:
    """One grant, for its holder, who decided it, owners, admins and auditors; 404 for everybody else."""
    return render(request, "access/grant.html", _context(signed_in(request), visible_grant(request, pk)))


@require_POST
def give_back(request: HttpRequest, pk: int) -> HttpResponse:
    held = visible_grant(request, pk)
    try:
        access.give_back(held, by=signed_in(request))
    except UserError as error:
        return refused_page(request, held, error)
    messages.success(request, f"{held.ref} is over. {_can(held)} is refused from now on.")
    return redirect("access") if request.POST.get("back") == "access" else redirect("grant", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks once more, POST does it: a revocation can't be undone."""
    held = visible_grant(request, pk)
    if request.method != "POST":
        if not access.may_revoke(held, signed_in(request)):
            raise PermissionDenied("Only an owner of the resource or an admin can revoke this.")
        now = clock.of_page()
        if now >= held.over_at:
            return redirect("grant", pk)
        return render(request, "access/revoke.html", {"grant": held, "now": now, "can": _can(held)})
    try:
        access.revoke(held, by=signed_in(request))
    except UserError as error:
        return refused_page(request, held, error)
    messages.success(request, f"Revoked {held.ref}. The next call is refused.")
    return redirect("grant", pk)


def visible_grant(request: HttpRequest, pk: int) -> Grant:
    """For its own pages and those of its tokens; 404 for who may not see it."""
    held = visibility.grant_of(signed_in(request), pk)
    if held is None:
        raise Http404
    along.decisions_of([held.request])
    return held


def refused_page(request: HttpRequest, held: Grant, error: UserError) -> HttpResponse:
    """The grant's page, with why the action did not happen."""
    return problem_page(request, held, error.reason, status=409 if isinstance(error, Conflict) else 403)


def problem_page(request: HttpRequest, held: Grant, problem: str, *, status: int) -> HttpResponse:
    """The grant as it is now, and why what was tried did not happen."""
    held = visible_grant(request, held.pk)
    context = _context(signed_in(request), held) | {"problem": problem}
    return render(request, "access/grant.html", context, status=status)


def _context(viewer: Subject, held: Grant) -> dict[str, Any]:
    now, asked = clock.of_page(), held.request
    stages = decide.stages_of(asked)
    decisions = list(asked.decisions.all())
    standing = timeline.grant_standing(held, now)
    over = standing.state == "ended"
    mine = viewer.pk == held.beneficiary_id
    beside = bindings.beside(held, now)
    outlived_by = bindings.outlived_by(held, now)
    shown = visibility.shown(viewer, [*beside, *filter(None, [outlived_by])])
    keeps = bindings.also_wants(held, beside)
    return {
        "grant": held,
        "asked": asked,
        "now": now,
        "title": _title(held, over=over, mine=mine),
        "standing": standing,
        "over": over,
        "mine": mine,
        "may_give_back": not over and service_identities.acts_for(viewer, held.beneficiary),
        "may_revoke": not over and access.may_revoke(held, viewer),
        "steps": timeline.steps(
            asked, stages, decisions, [held], viewer=viewer, now=now,
            enders=record.enders_of([held], viewer), with_reason=True,
        ),
        "role": idp_roles.standing(held, bindings.of(held),
                                    idp_roles.Others(keeps, outlived_by, frozenset(one.pk for one in shown)), now),
        "others": [one for one in shown if one in beside and one.resource_id == held.resource_id],
        **_gate(viewer, held, now),
    }  # fmt: skip


def _gate(viewer: Subject, held: Grant, now: datetime) -> dict[str, Any]:
    """Its tokens and what was done with them, for who uses or answers for it; the way in with a browser."""
    address, tokens = gate.address(held.resource.connection), issue.of_grant(held)
    used, refusals = usage.of_grant(held) if tokens else usage.NOTHING
    return {
        "gate": address,
        "tokens": tokens,
        "may_issue": bool(address) and issue.may_issue(held, viewer),
        "may_end_tokens": issue.acts_on(held, viewer),
        "token_lengths": [(minutes, words.length(timedelta(minutes=minutes))) for minutes in TOKEN_MINUTES
                          if now + timedelta(minutes=minutes) < held.over_at],
        "used": used,
        "refusals": [(gate.refused(one.code), one.n) for one in refusals if one.code != gate.KEY_ONLY],
        "key_only": any(one.code == gate.KEY_ONLY for one in refusals),
        "browser": bool(address) and viewer.pk == held.beneficiary_id and held.is_live_at(now),
    }  # fmt: skip


def _title(held: Grant, *, over: bool, mine: bool) -> str:
    name = "You" if mine else held.beneficiary.name
    return f"{name} {'could' if over else 'may'} {does(held.level)} {held.resource.name}"


def _can(held: Grant) -> str:
    """ "View on etl/prod": what ends with this grant."""
    return f"{held.level.capitalize()} on {words.KINDS[held.resource.kind].word.lower()} {held.resource.name}"
