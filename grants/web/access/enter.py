"""Let a browser into an orchestrator: the gate sends it here, and it goes back with a ticket."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts import sessions
from accounts.errors import NotAllowed
from accounts.request_cache import uncached
from grants.catalog.models import Connection
from grants.tokens import tickets
from grants.web.signed_in import signed_in
from grants.web.words import gate


class Way(forms.Form):
    """Which gate sent the browser and where it wants to go. The gate checks `to` again itself."""

    connection = forms.SlugField()
    nonce = forms.RegexField(r"^[0-9a-f]{64}$")
    to = forms.RegexField(r"^/(?![/\\])[\x21-\x7e]*$", max_length=2000, required=False)


@require_GET  # a HEAD request must not make a ticket
@uncached()
def enter(request: HttpRequest) -> HttpResponse:
    """Send this person's browser to the gate with a ticket, which lasts seconds and needs the gate's cookie."""
    way = Way(request.GET)
    if not way.is_valid():
        raise BadRequest("the parameters from the gate are malformed")
    asked = way.cleaned_data
    connection = get_object_or_404(Connection, slug=asked["connection"])
    try:
        ticket = tickets.hand_over(
            signed_in(request),
            connection,
            bytes.fromhex(asked["nonce"]),
            until=sessions.ends_at(request.session),
        )
    except NotAllowed as error:
        raise PermissionDenied(error.reason) from None
    query = urlencode({"ticket": ticket, "to": asked["to"] or "/"})
    answer = HttpResponseRedirect(f"{gate.address(connection)}/.stint/enter?{query}")
    answer["Referrer-Policy"] = "no-referrer"  # the address holds the ticket
    return answer
