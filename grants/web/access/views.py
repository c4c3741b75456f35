"""Show a person's own access and one grant; give a grant back, revoke it."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import UserError
from grants import clock
from grants.lifecycle import access
from grants.lifecycle.models import Grant
from grants.lifecycle.read_models import mine
from grants.lifecycle.sentences import Says
from grants.web.access.page import show, show_refused, visible_grant
from grants.web.signed_in import signed_in
from grants.web.words import things


@require_safe
def my_access(request: HttpRequest) -> HttpResponse:
    """Show what this person holds now, waits for and held last."""
    view = mine.access_of(signed_in(request))
    return render(request, "access/access.html", {"view": view, "now": view.now})


@require_safe
def grant(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one grant to its holder, those who decided it, owners, admins and auditors; 404 for others."""
    return show(request, visible_grant(request, pk))


@require_POST
def give_back(request: HttpRequest, pk: int) -> HttpResponse:
    held = visible_grant(request, pk)
    try:
        access.give_back(held, by=signed_in(request))
    except UserError as error:
        return show_refused(request, held, error)
    messages.success(request, f"{held.ref} is over. {_can(held)} is refused from now on.")
    return redirect("access") if request.POST.get("back") == "access" else redirect("grant", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks for confirmation, as a revocation can't be undone; POST revokes."""
    held = visible_grant(request, pk)
    if request.method != "POST":
        if not access.may_revoke(held, signed_in(request)):
            raise PermissionDenied(Says.NOT_REVOCABLE.say())
        now = clock.of_page()
        if now >= held.over_at:
            return redirect("grant", pk)
        return render(request, "access/revoke.html", {"grant": held, "now": now, "can": _can(held)})
    try:
        access.revoke(held, by=signed_in(request))
    except UserError as error:
        return show_refused(request, held, error)
    messages.success(request, f"Revoked {held.ref}. The next call is refused.")
    return redirect("grant", pk)


def _can(held: Grant) -> str:
    """Name the access that ends with this grant: "View on deployment etl/prod"."""
    return f"{held.level.capitalize()} on {things.KINDS[held.resource.kind].word.lower()} {held.resource.name}"
