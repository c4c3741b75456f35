"""Answer /healthz and /readyz without Django and its threads; show a plain page when the database is down.

/status, the page for people, is in grants.web.
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
    """Return the answer to a probe; None for any other path. /readyz is about the database alone.

    Asking for access works without the identity provider, the orchestrators and the broker.
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
    """Middleware: answer at once when the database is down. Requests that fail meanwhile get the same page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if PRESENCE.away():
            return database_error(request, Away("the database does not answer"))
        return self.get_response(request)
