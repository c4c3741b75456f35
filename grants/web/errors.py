"""Render error pages. They make no query, as the database may be the cause."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from structlog.contextvars import get_contextvars

from grants.web.context import theme_of

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


def _page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    page = render_to_string(
        "error.html",
        {
            "status": status,
            "title": title,
            "text": text,
            "number": get_contextvars().get("request_id", ""),
            "theme": theme_of(request),
        },
    )
    return HttpResponse(page, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    request.why = type(exception).__name__  # type: ignore[attr-defined]
    return _page(
        request,
        400,
        "This address makes no sense to Stint",
        "Something in it is missing or malformed. Go back and choose again.",
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    # A view raises PermissionDenied with a sentence for the person.
    text = str(exception) or "Your account does not open this page. Ask an admin if it should."
    return _page(request, 403, "This is not yours to open", text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 (Django names it)
    return _page(
        request,
        404,
        "There is nothing here for you",
        "The address is wrong, or what it names is not yours to see.",
    )


def too_many(request: HttpRequest, text: str) -> HttpResponse:
    return _page(request, 429, "This came too often", text)


def database_error(request: HttpRequest, error: Exception, *, begun: bool = False) -> HttpResponse:
    """Answer 503: the database is unreachable, or a lock or a time-out stopped the query, which then changed nothing.

    A line that breaks while a change is `begun` may have broken after its COMMIT: nobody knows, and so we say.
    """
    state = getattr(error.__cause__, "sqlstate", None) or ""
    # Deadlock, serialization; lock not available; cancelled by a time-out.
    if state.startswith("40") or state in ("55P03", "57014"):
        text = (
            "Somebody else is changing what this needs, or it took longer than Stint waits. "
            "Nothing was changed. Try again in a few seconds."
        )
        response, request.why = _page(request, 503, "Stint is busy with this", text), f"BUSY {state}"  # type: ignore[attr-defined]
    else:
        response = HttpResponse(render_to_string("down.html", {"theme": theme_of(request), "begun": begun}), status=503)
        request.why = f"DATABASE {state} {error}"[:200]  # type: ignore[attr-defined]
    response["Retry-After"] = "5"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that nothing caught. A change may have failed before its COMMIT, or after it."""
    if isinstance(error := sys.exception(), OperationalError | InterfaceError):
        return database_error(request, error, begun=request.method not in SAFE)
    if request.method in SAFE:
        text = "Try again, and tell an admin the number below if it stays."
    else:
        text = (
            "It is done whole or not at all, and this page does not know which: look before you send it again. "
            "Tell an admin the number below if it stays."
        )
    return _page(request, 500, "Stint failed at this", text)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    request.why = reason  # type: ignore[attr-defined]
    return _page(
        request,
        403,
        "This form was not sent by this page",
        "The form was open for too long, or cookies are off. "
        "Go back, reload and send it again: what you typed is still in the page you came from.",
    )
