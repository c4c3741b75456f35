"""Read the people, items and decisions of several requests with one query each, and attach them."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from accounts.models import Subject
from accounts.written import Written, among, has_read, read_along, rows
from grants.lifecycle.models import Decision, Grant, Request, RequestItem


def people_of(requests: Collection[Request]) -> None:
    """Attach requester and beneficiary, with the teams of service identities."""
    ids = {pk for one in requests for pk in (one.requester_id, one.beneficiary_id)}
    people = {one.pk: one for one in _people(ids=sorted(ids))} if ids else {}
    for one in requests:
        one.requester, one.beneficiary = people[one.requester_id], people[one.beneficiary_id]


def items_of(requests: Collection[Request]) -> None:
    """Attach the items with their resources and connections."""
    found: dict[int, list[RequestItem]] = {one.pk: [] for one in requests}
    for item in _items(ids=sorted(found)) if found else ():
        found[item.request_id].append(item)
    for one in requests:
        read_along(one, "items", found[one.pk])


def decisions_of(requests: Collection[Request]) -> None:
    """Attach the decisions with their approvers, in order, to requests that do not have them yet."""
    found: dict[int, list[Decision]] = {one.pk: [] for one in requests if not has_read(one, "decisions")}
    for decision in _decisions(ids=sorted(found)) if found else ():
        found[decision.request_id].append(decision)
    for one in requests:
        if one.pk in found:
            read_along(one, "decisions", found[one.pk])


def grants_of(requests: Collection[Request]) -> list[Grant]:
    """Return the grants of these requests."""
    approved = [one.pk for one in requests if one.state == Request.State.APPROVED]
    return _grants(ids=approved) if approved else []


@Written
def _grants() -> QuerySet[Grant]:
    return Grant.objects.filter(among("request_id", rows("ids"))).order_by("pk")


@Written
def _people() -> QuerySet[Subject]:
    return Subject.objects.filter(among("id", rows("ids"))).select_related("team")


@Written
def _items() -> QuerySet[RequestItem]:
    found = RequestItem.objects.filter(among("request_id", rows("ids")))
    return found.select_related("resource__connection").order_by("pk")


@Written
def _decisions() -> QuerySet[Decision]:
    return Decision.objects.filter(among("request_id", rows("ids"))).select_related("approver").order_by("pk")
