"""Who sees what: admins and auditors everything, others their own and what they own or decide."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, Exists, Func, OuterRef, Q, QuerySet

from accounts import roles, service_identities
from accounts.models import Subject
from accounts.once import once
from accounts.written import Written, a_row, a_time
from grants import clock
from grants.catalog.models import Resource
from grants.lifecycle import decide
from grants.lifecycle.models import Decision, Grant, Request, RequestItem
from grants.policy import versions


def visible_requests(subject: Subject) -> QuerySet[Request]:
    """Asked by or for this person or their teams' machines, decided by or waiting for them, about what they own."""
    if roles.sees_all(subject):
        return Request.objects.all()
    mine = Q(requester=subject) | Q(beneficiary=subject) | Q(beneficiary__in=service_identities.owned_by(subject))
    decided = Exists(Decision.objects.filter(request=OuterRef("pk"), approver=subject))
    waiting = Q(pk__in=[request.pk for request in decide.waiting_for(subject)])
    owned = Exists(RequestItem.objects.filter(request=OuterRef("pk"), resource__in=versions.owned_by(subject)))
    return Request.objects.filter(mine | decided | waiting | owned)


def visible_items(subject: Subject) -> list[QuerySet[RequestItem]]:
    """The items of these requests in parts, each with an index of its own: what is newest of all is among the newest
    of each. An item can be in several."""
    items = RequestItem.objects.all()
    if roles.sees_all(subject):
        return [items]
    return [
        items.filter(beneficiary=subject),
        items.filter(_among("beneficiary_id", service_identities.owned_by(subject).order_by().values("pk"))),
        items.filter(_among("request_id", Request.objects.filter(requester=subject).values("pk"))),
        items.filter(_among("request_id", subject.decisions.values("request"))),
        items.filter(request__in=[request.pk for request in decide.waiting_for(subject)]),
        items.filter(_among("resource_id", versions.owned_by(subject).values("pk"))),
    ]


def _among(column: str, rows: QuerySet[Any, Any]) -> Func:
    """Like `in`, but the rows are read first: else, where one is looked for among many, PostgreSQL reads what it orders
    by from its end until it has met enough, which is all of it for who has decided nothing."""
    return Func(
        column, ArraySubquery(rows), template="%(expressions)s)", arg_joiner=" = ANY (", output_field=BooleanField()
    )


def visible_grants(subject: Subject) -> QuerySet[Grant]:
    if roles.sees_all(subject):
        return Grant.objects.all()
    # Asked of each grant, so that the page of one does not read all that somebody decided or owns.
    decided = Exists(Decision.objects.filter(request=OuterRef("request"), approver=subject))
    owned = Exists(versions.owned_by(subject).filter(pk=OuterRef("resource")))
    mine = Q(beneficiary=subject) | Q(beneficiary__in=service_identities.owned_by(subject))
    return Grant.objects.filter(mine | decided | owned)


def held_by(subject: Subject) -> list[Grant]:
    """What somebody holds now, the first to end first."""
    return once(
        ("held by", subject.pk),
        lambda: sorted(_held(who=subject.pk, now=clock.of_page()), key=lambda grant: (grant.over_at, grant.pk)),
    )


@Written
def _held() -> QuerySet[Grant]:
    return Grant.objects.live_at(a_time("now")).filter(beneficiary=a_row("who")).select_related("resource__connection")


def visible_resources(subject: Subject) -> QuerySet[Resource]:
    """The catalog, without what the policy hides from who neither owns it nor may ask for it."""
    resources = Resource.objects.select_related("connection")
    if roles.sees_all(subject):
        return resources
    return resources.filter(versions.not_hidden_from(subject))
