"""Issue, replace and revoke the service tokens of a grant. A token is shown once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.errors import UserError
from grants import clock
from grants.lifecycle import visibility
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.tokens.issue import Issued
from grants.tokens.models import Credential
from grants.web.access.page import show_problem, show_refused, visible_grant
from grants.web.signed_in import signed_in
from grants.web.words import gate, things


class LastsForm(forms.Form):
    """How long the token lasts; empty: the default of its level."""

    minutes = forms.IntegerField(required=False, min_value=1, max_value=366 * 24 * 60)


@never_cache
@require_POST
def new(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the new token in the answer to the POST, so that no address and no other page has it."""
    held, form = visible_grant(request, pk), LastsForm(request.POST)
    minutes = form.cleaned_data["minutes"] if form.is_valid() else None
    if form.errors:
        return show_problem(request, held, "Choose how long the token lasts.", status=403)
    lasts = timedelta(minutes=minutes) if minutes else None
    return _shown(request, held, lambda: issue.issue(held, by=signed_in(request), lasts=lasts))


@never_cache
@require_POST
def replace(request: HttpRequest, pk: int) -> HttpResponse:
    old = _visible(request, pk)
    return _shown(request, _grant(old), lambda: issue.rotate(old, by=signed_in(request)))


@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    old = _visible(request, pk)
    held = _grant(old)
    try:
        issue.revoke(old, by=signed_in(request))
    except UserError as error:
        return show_refused(request, held, error)
    messages.success(request, f"Revoked the token {old.key_id[:6]}…. Its next call is refused.")
    return redirect("grant", held.pk)


def _shown(request: HttpRequest, held: Grant, make: Callable[[], Issued]) -> HttpResponse:
    try:
        issued = make()
    except UserError as error:
        return show_refused(request, held, error)
    return render(request, "access/token.html", _context(held, issued))


def _context(held: Grant, issued: Issued) -> dict[str, Any]:
    return {
        "grant": held,
        "now": clock.now(),
        "credential": issued.credential,
        "token": issued.token,
        "lines": gate.to_paste(held.resource.connection, issued.token),
        "try_it": gate.to_try(held),
        "address": gate.address(held.resource.connection),
        "means": things.level_means(held.level, held.resource.kind),
    }


def _visible(request: HttpRequest, pk: int) -> Credential:
    """Read a token of a grant that this person may see; 404 for any other."""
    tokens = Credential.objects.filter(kind=Credential.Kind.TOKEN).select_related("grant", "subject")
    credential = get_object_or_404(tokens, pk=pk)
    if credential.grant is None or not visibility.shown(signed_in(request), [credential.grant]):
        raise Http404
    return credential


def _grant(credential: Credential) -> Grant:
    if credential.grant is None:
        raise PermissionDenied("A browser session ends by signing out.")
    return credential.grant
