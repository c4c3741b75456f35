"""What one page has read, so that its parts need not read it again. Nothing is kept from one request to the next.

Only while a page is read (GET, HEAD): whatever acts looks at the database anew each time, also where the address
that a browser is sent to makes it a GET.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest, HttpResponse

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("what this page has read", default=None)


def once[T](what: Hashable, read: Callable[[], T]) -> T:
    """What `read` answers, as it did for this page before."""
    kept = _kept.get()
    if kept is None:
        return read()
    if what not in kept:
        kept[what] = read()
    value: T = kept[what]
    return value


def keep(what: Hashable, value: object) -> None:
    """This was read along with something else."""
    kept = _kept.get()
    if kept is not None:
        kept[what] = value


@contextmanager
def one_page() -> Iterator[None]:
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def anew() -> Iterator[None]:
    """What is asked in here is read anew each time, though a page is read: for a GET that acts."""
    token = _kept.set(None)
    try:
        yield
    finally:
        _kept.reset(token)


class OnePage:
    """Middleware: begins and ends what a page has read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return self.get_response(request)
        with one_page():
            return self.get_response(request)
