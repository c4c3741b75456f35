"""Limit how often a person, or an address before sign-in, may start work that costs more than a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.models import Subject
from grants.gate.bounds.tries import Tries, is_address, network_of
from grants.web import errors
from grants.web.access.page import show_problem, visible_grant


class Often(NamedTuple):
    at_once: int
    seconds: float  # until one more is allowed


class Limit(NamedTuple):
    """Limits in each web process. An address may be a whole office's, and a restarted browser reloads all tabs."""

    person: Often
    address: Often = Often(120, 0.5)


# By URL name. Wrong recovery codes are also counted in the database (accounts.recover).
LIMITS = {
    "oidc_authentication_init": Limit(Often(60, 1.0)),
    "oidc_authentication_callback": Limit(Often(60, 1.0)),
    "recover": Limit(Often(20, 6.0)),
    "token-new": Limit(Often(20, 6.0)),
    "token-replace": Limit(Often(20, 6.0)),
    "history-file": Limit(Often(10, 1.0)),  # each has up to 20,000 rows, in memory until it is sent
    "audit-file": Limit(Often(10, 1.0)),
}


class Limits:
    """Middleware: answer 429 to a caller that comes too often, before the view runs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._tries = {
            (name, kind): Tries(*often) for name, limit in LIMITS.items() for kind, often in limit._asdict().items()
        }
        self._turn = Lock()  # Tries is not safe between threads

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: object, given: dict[str, Any]
    ) -> HttpResponse | None:
        name = request.resolver_match.url_name if request.resolver_match else None
        if name not in LIMITS:
            return None
        kind, who = _who(request)
        with self._turn:
            if self._tries[name, kind].take(who):
                return None
        request.why = f"TOO OFTEN {kind}"  # type: ignore[attr-defined]
        return _refused(request, name, math.ceil(getattr(LIMITS[name], kind).seconds), given)


def _who(request: HttpRequest) -> tuple[str, str]:
    """Say what is counted: the person, else the address, as far as it is certain."""
    if isinstance(request.user, Subject):
        return "person", request.user.ref
    # Only the last hop of X-Forwarded-For is written by our proxy; a client can invent the others.
    hop = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    certain = settings.ENV.trusted_proxy and is_address(hop)
    return "address", network_of(hop if certain else request.META.get("REMOTE_ADDR", ""))


def _refused(request: HttpRequest, name: str, seconds: int, given: dict[str, Any]) -> HttpResponse:
    wait = "a second" if seconds == 1 else f"{seconds} seconds"
    text = f"This was asked for too often in a short time, and nothing was done. Try again in {wait}."
    if name == "token-new":  # its form is on the page of the grant
        response = show_problem(request, visible_grant(request, given["pk"]), text, status=429)
    else:
        response = errors.too_many(request, text)
    response["Retry-After"] = str(seconds)
    return response
