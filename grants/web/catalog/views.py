"""Show the catalog and one resource: its owner and what may be requested."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from grants import clock
from grants.catalog.models import Connection, Resource
from grants.lifecycle import visibility
from grants.lifecycle.models import Grant, RequestItem
from grants.lifecycle.read_models import resource as resource_read
from grants.lifecycle.read_models.options import Asker
from grants.lifecycle.read_models.resource import NamedOwner
from grants.web.catalog import browse
from grants.web.choices import Choice
from grants.web.signed_in import signed_in
from grants.web.words import counts, times

PAGE = 25


class Row(NamedTuple):
    resource: Resource
    owner: NamedOwner
    held: list[Grant]
    pending: list[RequestItem]
    may_ask: bool

    @property
    def nothing(self) -> bool:
        """Whether the person neither holds it nor waits for it."""
        return not (self.held or self.pending or self.resource.retired_at)


class Chip(NamedTuple):
    """An active filter, and the address without it."""

    word: str
    href: str


@require_safe
def catalog(request: HttpRequest) -> HttpResponse:
    """List what this person may see, filtered by the address."""
    me, now = signed_in(request), clock.of_page()
    asker, connections = Asker.of(me, now), list(Connection.objects.order_by("slug"))
    found = browse.browse(visibility.visible_resources(me), asker, request.GET, connections)
    pages = Paginator(found.resources, PAGE)
    pages.count = found.count  # counted already, up to MOST
    page = pages.get_page(request.GET.get("page"))
    mine = [Choice(value, word, None, value in request.GET.getlist("mine")) for value, word in browse.MINE.items()]
    boxes = {facet.name: facet.choices for facet in found.facets} | {"mine": mine}
    context = {
        "now": now,
        "q": request.GET.get("q", "")[:200],
        "found": found,
        "page": page,
        "rows": [_row(one, found.owner(one), asker) for one in page],
        "most": browse.MOST,
        "chips": list(_chips(request.GET)),
        "mine": mine,
        "chosen": [(name, one.value) for name, choices in boxes.items() for one in choices if one.on],
        "new": reverse("request-new"),
        "retired": request.GET.get("retired") == "1",
        "lead": _lead(found, connections, now),
        "silent": [connection for connection in connections if connection.error],
    }
    return render(request, "catalog/catalog.html", context)


def _row(one: Resource, owner: NamedOwner, asker: Asker) -> Row:
    return Row(one, owner, asker.grants.get(one.pk, []), asker.pending.get(one.pk, []), asker.may_ask(one))


def _chips(query: QueryDict) -> Iterator[Chip]:
    for name in (*browse.FACETS, "mine", "retired"):
        for value in query.getlist(name):
            rest = query.copy()
            rest.setlist(name, [other for other in query.getlist(name) if other != value])
            rest.pop("page", None)
            word = {"mine": browse.MINE.get(value, value), "retired": "with retired"}.get(name)
            yield Chip(word or browse.facet_word(name, value), f"?{rest.urlencode()}")


def _lead(found: browse.Found, connections: list[Connection], now: datetime) -> str:
    """Say how many resources there are, from how many connections, and when they were synced."""
    synced = [connection.seen_at for connection in connections if connection.seen_at]
    fresh = f" Synced {times.ago(min(synced), now)}." if synced and len(synced) == len(connections) else ""
    many = found.total > browse.MOST
    total = f"More than {browse.MOST:,} resources" if many else counts.count(found.total, "resource")
    return f"{total} from {counts.count(len(connections), 'connection')}.{fresh}"


@require_safe
def resource(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one resource; 404 where the policy hides it from this person."""
    me = signed_in(request)
    thing = visibility.resource_of(me, pk)
    if thing is None:
        raise Http404
    view = resource_read.of(thing, me)
    return render(request, "catalog/resource.html", {"view": view, "resource": thing, "now": view.now})
