"""Alive and ready, told without Django or a thread of its; a plain page when the database is away.

/status, for people, is a page of web.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from grants.web.errors import database_error
from portal.postgres.base import Away
from portal.postgres.presence import PRESENCE

type Told = tuple[HTTPStatus, str]


def tell(path: str) -> Told | None:
    """What a probe hears under this path: does the process answer, does its database.

    Not the identity provider, not an orchestrator, not the broker: asking for access works without them.
    """
    match path:
        case "/healthz":
            return HTTPStatus.OK, "ok\n"
        case "/readyz" if PRESENCE.away():
            return HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer\n"
        case "/readyz":
            return HTTPStatus.OK, "ready\n"
    return None


class DatabaseDown:
    """Middleware: nobody waits for a database that is away. What fails meanwhile, handler500 tells alike."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if PRESENCE.away():
            return database_error(request, Away("the database does not answer"))
        return self.get_response(request)
