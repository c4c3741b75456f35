"""Refuse bodies before sign-in, use each person's time zone, and let no browser keep a page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from grants.web import errors

ZONE_COOKIE = "stint-zone"  # stint.js stores the browser's zone in it


@cache
def zones() -> frozenset[str]:
    """List the names that a person may choose from."""
    return frozenset(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")) | {"UTC"}


def zone_of(request: HttpRequest, *, with_user: bool = True) -> ZoneInfo | None:
    """Find the zone that the person chose, else the browser's; None if neither is a known zone."""
    chosen = getattr(request.user, "time_zone", "") if with_user else ""
    for name in (chosen, request.COOKIES.get(ZONE_COOKIE, "")):
        # Checked against the list first: zoneinfo must not open a path that a client chose.
        if name in zones():
            return ZoneInfo(name)
    return None


class SignedInBodies:
    """Middleware: refuse a body from a caller who is not signed in, before any page parses it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponse | None:
        if not request.META.get("CONTENT_LENGTH", "").strip("0") or request.user.is_authenticated:
            return None
        return errors.forbidden(request, PermissionDenied("Sign in first, then send this."))


class NoStore:
    """Middleware: a browser keeps no page, so that Back after sign-out shows none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class TimeZone:
    """Middleware: use the person's time zone in templates and forms, else the portal's (STINT_TIME_ZONE)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: object) -> None:
        # Probes and sign-in pages need no login, so they must not query the database for the user.
        if zone := zone_of(request, with_user=getattr(view, "login_required", True)):
            timezone.activate(zone)
