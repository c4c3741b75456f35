"""What a person may see: admins and auditors everything; others their own, what they own and what they decide."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, Exists, Func, OuterRef, Q, QuerySet

from accounts import roles, service_identities
from accounts.models import Subject
from accounts.request_cache import once_per_request
from accounts.written import Given, Written, a_row, a_time, among, read_along, rows
from grants import clock
from grants.catalog.models import Resource
from grants.lifecycle import along, decide
from grants.lifecycle.models import Decision, Grant, Request, RequestItem
from grants.policy import ownership, versions
from grants.policy.people import person_of
from grants.policy.reach import owned_by_given

NOBODYS = 2**63 - 1  # the greatest id that a column can hold; no row has it
CLOSED = 6  # closed items on the home page
LAST = 20  # earlier grants of a person
BEFORE = 3  # earlier requests for the same things, shown to an approver
ASKED = 8  # requests shown on a resource's page
DECIDED = 26  # one more than a page lists


def visible_items(subject: Subject) -> list[QuerySet[RequestItem]]:
    """Return the items that this person may see, as several querysets that each use an index of their own.

    The newest of all are among the newest of each. An item can be in several querysets.
    """
    items = RequestItem.objects.all()
    if roles.sees_all(subject):
        return [items]
    return [
        items.filter(beneficiary=subject),
        items.filter(_among("beneficiary_id", service_identities.owned_by(subject).order_by().values("pk"))),
        items.filter(_among("request_id", Request.objects.filter(requester=subject).values("pk"))),
        items.filter(_among("request_id", subject.decisions.values("request"))),
        items.filter(request__in=[request.pk for request in decide.waiting_for(subject)]),
        items.filter(_among("resource_id", ownership.owned_by(subject).values("pk"))),
    ]


def _among(column: str, rows: QuerySet[Any, Any]) -> Func:
    """Like `in`, but PostgreSQL reads the rows first.

    Otherwise it walks the index of the order until it has found enough: all of it for a person without any.
    """
    return among(column, ArraySubquery(rows))


def request_of(subject: Subject, pk: int) -> Request | None:
    """Return this request with its people and items, if this person may see it.

    They may when it is by or for them or a service identity of their teams, when they decided it or can decide it, and
    when they own one of its resources.
    """
    waiting = {one.pk: one for one in decide.waiting_for(subject)}
    asked = next(iter(_one_request(pk=min(pk, NOBODYS), **_called(subject))), None)
    if asked and pk in waiting:
        read_along(asked, "items", list(waiting[pk].items.all()))
    elif asked:
        along.items_of([asked])
    return asked


def before(subject: Subject, asked: Request) -> list[RequestItem]:
    """Return earlier items for the same person and resources that `subject` may see, the newest first."""
    things = [item.resource_id for item in asked.items.all()]
    return _before(asked=asked.pk, beneficiary=asked.beneficiary_id, things=things, **_called(subject))


def asked_of(subject: Subject, thing: Resource) -> list[RequestItem]:
    """Return the items for this resource that `subject` may see, the newest first."""
    return _asked_of(thing=thing.pk, **_called(subject))


def grant_of(subject: Subject, pk: int) -> Grant | None:
    """Return this grant with its people, if this person may see it.

    They may when it is for them or a service identity of their teams, when they decided its request, and when they own
    its resource.
    """
    grant = next(iter(_one_grant(ids=[min(pk, NOBODYS)], **_called(subject))), None)
    if grant:
        grant.request.beneficiary = grant.beneficiary  # equal, by a composite key
    return grant


def shown(subject: Subject, grants: Collection[Grant]) -> list[Grant]:
    """Return those of these grants that this person may see, by the rule of grant_of()."""
    seen = set(_seen(ids=[grant.pk for grant in grants], **_called(subject))) if grants else ()
    return [grant for grant in grants if (grant.pk,) in seen]


def _called(subject: Subject) -> dict[str, Any]:
    """The values about the viewer for the Written queries below."""
    policy, person = versions.in_force(), person_of(subject)
    judged = person if policy else None
    return {
        "waiting": [one.pk for one in decide.waiting_for(subject)],
        "who": subject.pk,
        "active": subject.active,
        "sees_all": roles.sees_all(subject),
        "teams": sorted(judged.teams) if judged else [],
        "key": judged.key if judged else "",
    }


def _theirs(beneficiary: str) -> Q:
    """Is it for the viewer, or for a service identity of their teams?"""
    services = Subject.objects.filter(kind=Subject.Kind.SERVICE, team__memberships__subject=a_row("who"))
    machines = Q(_given("active")) & Q(**{f"{beneficiary}__in": services})
    return Q(_given("sees_all")) | Q(**{beneficiary: a_row("who")}) | machines


def _given(name: str) -> Given:
    return Given(name, BooleanField())


def _seen_requests(request: str, requester: str) -> Q:
    """The condition of request_of(), for rows that name their request and requester by these columns."""
    decided = Exists(Decision.objects.filter(request=OuterRef(request), approver=a_row("who")))
    owned = Resource.objects.filter(owned_by_given())
    about = Exists(RequestItem.objects.filter(request=OuterRef(request), resource__in=owned))
    mine = _theirs("beneficiary") | Q(**{requester: a_row("who")})
    return mine | Q(among(request, rows("waiting"))) | decided | about


@Written
def _one_request() -> QuerySet[Request]:
    seen = Request.objects.filter(_seen_requests("id", "requester"), pk=a_row("pk"))
    return seen.select_related("requester", "beneficiary__team")


@Written
def _before() -> QuerySet[RequestItem]:
    same = RequestItem.objects.filter(among("resource_id", rows("things")), beneficiary=a_row("beneficiary"))
    seen = same.filter(_seen_requests("request_id", "request__requester"), request__lt=a_row("asked"))
    return seen.select_related("request").order_by("-pk")[:BEFORE]


@Written
def _asked_of() -> QuerySet[RequestItem]:
    seen = RequestItem.objects.filter(_seen_requests("request_id", "request__requester"), resource=a_row("thing"))
    return seen.select_related("request", "beneficiary").order_by("-pk")[:ASKED]


def _seen_grants() -> QuerySet[Grant]:
    decided = Exists(Decision.objects.filter(request=OuterRef("request"), approver=a_row("who")))
    owned = Exists(Resource.objects.filter(owned_by_given(), pk=OuterRef("resource")))
    return Grant.objects.filter(_theirs("beneficiary") | decided | owned, among("id", rows("ids")))


@Written
def _one_grant() -> QuerySet[Grant]:
    return _seen_grants().select_related("beneficiary", "resource__connection", "request__requester")


@Written
def _seen() -> QuerySet[Any, Any]:
    return _seen_grants().values_list("pk")


def held_by(subject: Subject) -> list[Grant]:
    """Return the live grants of a person, the first to end first."""
    return once_per_request(
        ("held by", subject.pk),
        lambda: sorted(_held(who=subject.pk, now=clock.of_page()), key=lambda grant: (grant.over_at, grant.pk)),
    )


def held_last(subject: Subject) -> list[Grant]:
    """Return the LAST grants of a person that are no longer live, the newest first."""
    held = [grant.pk for grant in held_by(subject)]
    return _begun(who=subject.pk, now=clock.of_page(), held=held)


def decided_by(subject: Subject, before: int | None) -> list[Decision]:
    """Return the decisions of a person before this one, with the items of their requests, the newest first."""
    found = _decided(who=subject.pk, before=NOBODYS if before is None else before)
    along.items_of([one.request for one in found])
    return found


def awaited_by(subject: Subject, most: int | None = None) -> list[Request]:
    """Return the pending requests by or for a person, with their items, the newest first."""
    found = _awaited(who=subject.pk, now=clock.of_page())[:most]
    along.items_of(found)
    return found


def items_awaited_by(subject: Subject, now: datetime) -> list[RequestItem]:
    """Return the pending items for a person, the oldest first."""
    return _items_awaited(who=subject.pk, now=now)


def closed_of(subject: Subject) -> list[RequestItem]:
    """Return the items of a person's latest closed requests, the latest first."""
    return _closed(who=subject.pk)


def asked_by(subject: Subject) -> list[Request]:
    """Return the pending requests by a person, with their items, the newest first."""
    found = _asked(who=subject.pk, now=clock.of_page())
    along.items_of(found)
    return found


@Written
def _begun() -> QuerySet[Grant]:
    mine = Grant.objects.filter(beneficiary=a_row("who"), starts_at__lte=a_time("now"))
    return mine.exclude(among("id", rows("held"))).select_related("resource__connection").order_by("-pk")[:LAST]


@Written
def _decided() -> QuerySet[Decision]:
    mine = Decision.objects.filter(approver=a_row("who"), superseded=False, pk__lt=a_row("before"))
    return mine.select_related("request__beneficiary").order_by("-pk")[:DECIDED]


@Written
def _awaited() -> QuerySet[Request]:
    mine = Request.objects.filter(Q(requester=a_row("who")) | Q(beneficiary=a_row("who")))
    return mine.filter(state=Request.State.PENDING, lapses_at__gt=a_time("now")).order_by("-pk")


@Written
def _items_awaited() -> QuerySet[RequestItem]:
    pending = RequestItem.objects.filter(state=Request.State.PENDING, request__lapses_at__gt=a_time("now"))
    return pending.filter(beneficiary=a_row("who")).order_by("pk")


@Written
def _closed() -> QuerySet[RequestItem]:
    # The request has both people, so two indexes find these few; by items it would read all that ever existed.
    closed = Request.objects.filter(Q(requester=a_row("who")) | Q(beneficiary=a_row("who"))).exclude(state="pending")
    latest = closed.order_by("-closed_at", "pk").values("pk")[:CLOSED]
    items = RequestItem.objects.filter(request__in=latest).select_related("request", "resource__connection")
    return items.order_by("-request__closed_at", "pk")[:CLOSED]


@Written
def _asked() -> QuerySet[Request]:
    pending = Request.objects.filter(state=Request.State.PENDING, lapses_at__gt=a_time("now"))
    return pending.filter(requester=a_row("who")).order_by("-pk")


@Written
def _held() -> QuerySet[Grant]:
    return Grant.objects.live_at(a_time("now")).filter(beneficiary=a_row("who")).select_related("resource__connection")


def resource_of(subject: Subject, pk: int) -> Resource | None:
    """Return this resource with its parent, each only if this person may see it."""
    thing = resources_of(subject, [pk]).get(pk)
    if thing and thing.parent and not _may_see(subject, thing.parent):
        thing.parent = None
    return thing


def resources_of(subject: Subject, ids: Collection[int]) -> dict[int, Resource]:
    """Return those of these resources that this person may see, by their ids."""
    if not ids:
        return {}
    found = _resources(ids=[min(pk, NOBODYS) for pk in ids])
    return {one.pk: one for one in found if _may_see(subject, one)}


def _may_see(subject: Subject, thing: Resource) -> bool:
    return roles.sees_all(subject) or ownership.may_see(subject, thing)


@Written
def _resources() -> QuerySet[Resource]:
    return Resource.objects.filter(among("id", rows("ids"))).select_related("connection", "parent__connection")


def visible_resources(subject: Subject) -> QuerySet[Resource]:
    """Return the catalog without the resources that the policy hides from this person."""
    resources = Resource.objects.select_related("connection")
    if roles.sees_all(subject):
        return resources
    return resources.filter(ownership.not_hidden_from(subject))
