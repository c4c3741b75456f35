"""Pages for what went wrong. None of them touches the database: it may be what went wrong."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from structlog.contextvars import get_contextvars

from grants.web.context import theme_of


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


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 (Django names it)
    return _page(
        request,
        400,
        "This address makes no sense to Stint",
        "Something in it is missing or malformed. Go back and choose again.",
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    # PermissionDenied("…") raised by a view carries a sentence for people.
    text = str(exception) or "Your account does not open this page. Ask an admin if it should."
    return _page(request, 403, "This is not yours to open", text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 (Django names it)
    return _page(
        request,
        404,
        "There is nothing here for you",
        "The address is wrong, or what it names is not yours to see.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    return _page(
        request,
        500,
        "Stint failed at this",
        "Nothing was changed halfway: every action is done whole or not at all. "
        "Try again, and tell an admin the number below if it stays.",
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 (Django names it)
    return _page(
        request,
        403,
        "This form was not sent by this page",
        "The form was open for too long, or cookies are off. "
        "Go back, reload and send it again: what you typed is still in the page you came from.",
    )
