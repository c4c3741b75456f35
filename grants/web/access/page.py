"""Render the page of one grant: for its views, for those of its tokens, and when one of these is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.errors import Conflict, UserError
from accounts.models import Subject
from grants.gate.decision.types import KEY_ONLY
from grants.lifecycle import along, visibility
from grants.lifecycle.models import Grant
from grants.lifecycle.read_models import grant as grant_read
from grants.lifecycle.read_models.grant import GrantView
from grants.policy.wording import duration
from grants.tokens import overview
from grants.web.signed_in import signed_in
from grants.web.words import gate, idp_roles, things, timeline

TOKEN_MINUTES = (15, 60, 240, 480)  # the choices; no token outlives its grant


def visible_grant(request: HttpRequest, pk: int) -> Grant:
    """Read the grant with its decisions; 404 for a person who may not see it."""
    held = visibility.grant_of(signed_in(request), pk)
    if held is None:
        raise Http404
    along.decisions_of([held.request])
    return held


def show(request: HttpRequest, held: Grant, *, problem: str = "", status: int = 200) -> HttpResponse:
    return render(request, "access/grant.html", _context(signed_in(request), held, problem), status=status)


def show_refused(request: HttpRequest, held: Grant, error: UserError) -> HttpResponse:
    """Show the grant as it is now, and why the action was refused."""
    return show_problem(request, held, error.reason, status=409 if isinstance(error, Conflict) else 403)


def show_problem(request: HttpRequest, held: Grant, problem: str, *, status: int) -> HttpResponse:
    return show(request, visible_grant(request, held.pk), problem=problem, status=status)


def _context(viewer: Subject, held: Grant, problem: str) -> dict[str, Any]:
    view = grant_read.of(held, viewer)
    told = timeline.steps(
        view.request, view.stages, view.decisions, [held],
        viewer=viewer, now=view.now, enders=view.enders, with_reason=True,
    )  # fmt: skip
    return {
        "view": view,
        "grant": held,
        "asked": view.request,
        "now": view.now,
        "title": _title(view),
        "steps": told,
        "role": idp_roles.standing(held, view.binding, view.role_grants, view.now),
        "problem": problem,
        **_tokens(view),
    }


def _tokens(view: GrantView) -> dict[str, Any]:
    """Describe the tokens of the grant, their use, and whether a browser may enter."""
    held, seen = view.grant, overview.of(view.grant, view.viewer)
    address = gate.address(held.resource.connection)
    lengths = [timedelta(minutes=minutes) for minutes in TOKEN_MINUTES]
    return {
        "tokens": seen,
        "gate": address,
        "may_issue": bool(address) and seen.may_issue,
        "token_lengths": [(of // timedelta(minutes=1), duration(of)) for of in lengths if view.now + of < held.over_at],
        "refusals": [(gate.refused(one.code), one.n) for one in seen.refusals if one.code != KEY_ONLY],
        "key_only": any(one.code == KEY_ONLY for one in seen.refusals),
        "browser": bool(address) and view.mine and held.is_live_at(view.now),
    }


def _title(view: GrantView) -> str:
    held = view.grant
    name = "You" if view.mine else held.beneficiary.name
    return f"{name} {'could' if view.over else 'may'} {things.does(held.level)} {held.resource.name}"
