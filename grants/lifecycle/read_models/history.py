"""What was asked for and what became of it: one row per item asked, newest first, by keyset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.lookups import GreaterThan

from accounts.models import Subject
from accounts.written import Written, among
from accounts.written import rows as rows_of
from grants import references
from grants.catalog.models import Resource
from grants.catalog.search import having
from grants.lifecycle import along, standing, visibility
from grants.lifecycle.models import Decision, Grant, Request, RequestItem

PAGE = 50
WORDS_MAX = 4  # of a search: each doubles the parts that are read
RARE = 1_000  # requests: who has fewer is read by them, else the newest items are looked at in turn

_ENDS = {reason.value: f"Ended: {reason.label}" for reason in Grant.EndReason}
STATES = {
    "pending": "Pending",
    "live": "Live now",
    "ended": "Ended, any way",
    **_ENDS,
    "denied": "Denied",
    "withdrawn": "Withdrawn",
    "lapsed": "Lapsed",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items are wanted; an empty value filters nothing."""

    person: str = ""  # parts of a name or an address, or S-3
    q: str = ""  # references, or how words begin in a resource's name or in the reason
    state: str = ""  # a key of STATES
    level: str = ""
    connection: str = ""
    environment: str = ""
    since: datetime | None = None  # when it was asked
    until: datetime | None = None  # before then


@dataclass(frozen=True, slots=True)
class Row:
    """One item asked for, and what became of it at `now`."""

    item: RequestItem
    grant: Grant | None
    decisions: tuple[Decision, ...]
    state: str  # of the design: pending granted scheduled ending ended denied withdrawn lapsed
    word: str  # for people: "Ended early"

    @property
    def request(self) -> Request:
        return self.item.request

    @property
    def ref(self) -> str:
        return self.grant.ref if self.grant else self.item.request.ref

    @property
    def length(self) -> timedelta:
        """How long access lasted or may last; what was asked for where nothing was granted."""
        return self.grant.over_at - self.grant.starts_at if self.grant else self.item.request.duration

    @property
    def deciders(self) -> list[str]:
        return [decision.approver.name for decision in self.decisions]


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Row]
    newer: int | None  # `after` of the page before this one
    older: int | None  # `before` of the next


_BY_ID = Written(
    lambda: RequestItem.objects.filter(among("id", rows_of("items"))).select_related(
        "request__requester", "beneficiary", "resource__connection"
    )
)


@dataclass(frozen=True, slots=True)
class Items:
    """The items that somebody may see and that pass filters, in parts (visibility.visible_items)."""

    parts: list[QuerySet[RequestItem]]

    def filter(self, *either: Q) -> Items:
        """Those that meet one of these conditions: a part each, so that each can have its own index."""
        return Items([part.filter(condition) for part in self.parts for condition in either])

    def newest(self, count: int, *, before: int | None = None) -> list[RequestItem]:
        """The newest `count` of them, older than item `before`; the newest first."""
        return _read(self.newest_ids(count, before=before))

    def oldest(self, count: int, *, after: int) -> list[RequestItem]:
        """The oldest `count` of those newer than item `after`, the oldest first."""
        return _read(self.oldest_ids(count, after=after))

    def newest_ids(self, count: int, *, before: int | None = None) -> list[int]:
        """The ids of newest()."""
        return self._ids("-pk", count, Q(pk__lt=before) if before else Q())

    def oldest_ids(self, count: int, *, after: int) -> list[int]:
        """The ids of oldest()."""
        return self._ids("pk", count, Q(pk__gt=after))

    def _ids(self, order: str, count: int, beyond: Q) -> list[int]:
        # Each part gives its first ones by an index of its own; what is first of all is among them.
        firsts = [part.filter(beyond).order_by(order).values_list("pk", flat=True)[:count] for part in self.parts]
        found = firsts[0].union(*firsts[1:]) if len(firsts) > 1 else firsts[0]
        return sorted(found, reverse=order == "-pk")[:count]


def _read(ids: Sequence[int]) -> list[RequestItem]:
    """The items with these ids, in their order. Read after they are found: planning both as one query takes long."""
    by_id = {item.pk: item for item in _BY_ID(items=ids)}
    return [by_id[pk] for pk in ids]


def matching(filters: Filters, subject: Subject, now: datetime) -> Items:
    """Items that pass the filters and that `subject` may see."""
    items = Items(visibility.visible_items(subject))
    if filters.state:
        items = items.filter(_in_state(filters.state, now, everybody=len(items.parts) == 1))
    if filters.person:
        items = items.filter(_person(filters.person))
    for word in filters.q.split()[:WORDS_MAX]:
        items = items.filter(*_text(word))
    for path, value in (
        ("level", filters.level),
        ("resource__connection__slug", filters.connection),
        ("resource__connection__environment", filters.environment),
    ):
        if value:
            items = items.filter(Q((path, value)))
    if filters.since:
        items = items.filter(Q(request__asked_at__gte=filters.since))
    if filters.until:
        items = items.filter(Q(request__asked_at__lt=filters.until))
    return items


def _person(text: str) -> Q:
    """Asked for, or by, who is called so. Both stand on the request, with an index each."""
    named = references.read(text)
    if named and named.kind == "subject":
        called = Subject.objects.filter(pk=named.pk)
    else:
        called = Subject.objects.all()
        for word in text.split():
            called = called.filter(Q(name__icontains=word) | Q(email__icontains=word))
    people = list(called.values_list("pk", flat=True))
    return Q(request__in=Request.objects.filter(Q(requester__in=people) | Q(beneficiary__in=people)).values("pk"))


def _text(word: str) -> tuple[Q, ...]:
    """A reference; or else how a word begins in a resource's name or in the reason."""
    named = references.read(word)
    if named and named.kind == "request":
        return (Q(request_id=named.pk),)
    if named and named.kind == "grant":
        grant = Grant.objects.filter(pk=named.pk)
        return (Q(request__in=grant.values("request")) & Q(Exists(grant.filter(**_OF_ITEM))),)
    called = Resource.objects.filter(having(word), name__icontains=word).values_list("pk", flat=True)
    things, reasoned = _few(called, _reasoned(word))
    return Q(resource__in=things), Q(request__in=reasoned)


def _few(*found: QuerySet[Any, int]) -> list[list[int] | QuerySet[Any, int]]:
    """Each read here, in one query, for all the parts that ask for it, unless it is too much to be sent back.

    PostgreSQL takes any word for a common one: for what nobody wrote it would look at a million items in turn.
    """
    some = [rows.order_by().annotate(nth=Value(nth)).values_list("nth", "pk") for nth, rows in enumerate(found)]
    read = list(some[0][: RARE + 1].union(*(rows[: RARE + 1] for rows in some[1:]), all=True))
    few = [[pk for whose, pk in read if whose == nth] for nth in range(len(found))]
    return [ids if len(ids) <= RARE else rows for ids, rows in zip(few, found, strict=True)]


def _reasoned(text: str) -> QuerySet[Request, int]:
    """Requests whose reason has words that begin as these do, by the full-text index."""
    words = re.findall(r"\w+", text)
    if not words:
        return Request.objects.none().values_list("pk", flat=True)
    query = SearchQuery(" & ".join(f"{word}:*" for word in words), config="simple", search_type="raw")
    said = Request.objects.alias(said=SearchVector("reason", config="simple")).filter(said=query)
    return said.values_list("pk", flat=True)


_OF_ITEM = {name: OuterRef(name) for name in ("request", "resource", "level")}


def _in_state(state: str, now: datetime, *, everybody: bool) -> Q:
    waiting = Q(state="pending", request__lapses_at__gt=now)
    lapsed = Q(state="lapsed") | Q(state="pending", request__lapses_at__lte=now)  # the sweeper may be late
    asked = {"pending": waiting, "lapsed": lapsed} | {name: Q(state=name) for name in ("denied", "withdrawn")}
    return asked[state] if state in asked else _granted_in(state, now, everybody=everybody)


def _granted_in(state: str, now: datetime, *, everybody: bool) -> Q:
    """Items whose grant is so: the newest are looked at in turn, each with its grant. Joined freely, all grants that
    are live would be read to show fifty. Among everybody's, few are read by their requests."""
    found = Grant.objects.live_at(now) if state == "live" else Grant.objects.filter(_grant_in(state, now))
    of_item = Q(GreaterThan(Subquery(found.filter(**_OF_ITEM).values("pk")[:1]), 0))
    if not everybody or state in ("ended", Grant.EndReason.ELAPSED):  # nearly all of them, in time
        return of_item
    few = list(found.order_by().values_list("request", flat=True)[: RARE + 1])
    return Q(request__in=few) & of_item if len(few) <= RARE else of_item


def _grant_in(state: str, now: datetime) -> Q:
    over = Q(ended_at__isnull=False, ended_at__lte=now) | Q(ends_at__lte=now)
    if state == "ended":
        return over
    if state == Grant.EndReason.ELAPSED:
        return over & (Q(end_reason="elapsed") | Q(end_reason=None, ended_at=None))
    return Q(end_reason=state)


def page(items: Items, now: datetime, *, before: int | None, after: int | None) -> Page:
    """PAGE rows older than item `before`, or newer than `after`, or the newest."""
    if after is not None:
        found = items.oldest(PAGE + 1, after=after)
        more_newer, found = len(found) > PAGE, found[:PAGE][::-1]
        more_older = bool(found and items.newest_ids(1, before=found[-1].pk))
    else:
        found = items.newest(PAGE + 1, before=before)
        more_older, found = len(found) > PAGE, found[:PAGE]
        more_newer = bool(before and found and items.oldest_ids(1, after=found[0].pk))
    return Page(
        rows=rows(found, now),
        newer=found[0].pk if found and more_newer else None,
        older=found[-1].pk if found and more_older else None,
    )


def rows(items: Sequence[RequestItem], now: datetime) -> list[Row]:
    """Items with their grants and decisions, in two queries however many there are."""
    requests = {item.request_id: item.request for item in items}
    grants = {(grant.request_id, grant.resource_id, grant.level): grant for grant in along.grants_of(requests.values())}
    along.decisions_of(requests.values())
    decisions = {
        pk: tuple(decision for decision in one.decisions.all() if not decision.superseded)
        for pk, one in requests.items()
    }
    made = []
    for item in items:
        grant = grants.get((item.request_id, item.resource_id, item.level))
        state, word = standing.of_item(item.request, grant, now)
        made.append(Row(item, grant, decisions[item.request_id], state, word))
    return made
