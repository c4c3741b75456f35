"""Give each request an id, which is in all its log lines and in its answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

PATH_SHOWN = 200  # characters
_REQUEST_ID = re.compile(r"[\w.-]{8,64}")


class RequestId:
    """Middleware: add the request's id to its log lines and its answer, and log one line for each request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            # Without the query: it may hold words that people searched for, or a provider's code.
            why = {"why": request.why} if hasattr(request, "why") else {}
            path = request.path[:PATH_SHOWN]
            log.info("request", method=request.method, path=path, status=response.status_code, **why)
        response["X-Request-Id"] = request_id
        return response
