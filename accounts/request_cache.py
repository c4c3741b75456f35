"""Keep what was read while a page is made, so that its parts do not read it again. Dropped with the response.

Only for GET and HEAD: code that acts reads the database anew each time, also where a redirect makes it a GET.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest, HttpResponse

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("what this request has read", default=None)


def once_per_request[T](key: Hashable, read: Callable[[], T]) -> T:
    """Return what `read` returned for this key earlier in the request; call it when it has not been called yet."""
    kept = _kept.get()
    if kept is None:
        return read()
    if key not in kept:
        kept[key] = read()
    value: T = kept[key]
    return value


def remember(key: Hashable, value: object) -> None:
    """Keep a value that was read together with something else, for once_per_request()."""
    kept = _kept.get()
    if kept is not None:
        kept[key] = value


@contextmanager
def _cached() -> Iterator[None]:
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def uncached() -> Iterator[None]:
    """Read everything anew inside this block, for a GET that acts."""
    token = _kept.set(None)
    try:
        yield
    finally:
        _kept.reset(token)


class RequestCache:
    """Middleware: begins the cache of a GET or HEAD request and drops it with the response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return self.get_response(request)
        with _cached():
            return self.get_response(request)
