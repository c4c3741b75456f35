"""Alive, ready, and a plain page when the database is away. /status, for people, is a page of web."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)


@login_not_required
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
def readyz(_request: HttpRequest) -> HttpResponse:
    """Stint's own database answers. Not the IdP, not an orchestrator, not the broker: asking works without them."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (OperationalError, InterfaceError):
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    return HttpResponse("ready\n", content_type="text/plain")


class DatabaseDown:
    """Middleware: no database, no session and no answer but this plain page, 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        except (OperationalError, InterfaceError) as error:
            return self.unavailable(error)

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        return self.unavailable(error) if isinstance(error, OperationalError | InterfaceError) else None

    def unavailable(self, error: Exception) -> HttpResponse:
        log.error("database_down", error=str(error))
        response = HttpResponse(render_to_string("down.html"), status=503)
        response["Retry-After"] = "5"
        return response
