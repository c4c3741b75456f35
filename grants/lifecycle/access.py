"""Open access with the last approval, and end it: by the clock, its holder, an owner or an admin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Least

from accounts import roles, service_identities
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from grants import clock, due, references
from grants.audit import Event, Verb, record, record_all
from grants.audit.models import AuditEvent
from grants.catalog.levels import SERVICES_ONLY, Level
from grants.clock import StintNow
from grants.lifecycle import bindings
from grants.lifecycle.models import Grant, Request
from grants.lifecycle.sentences import Says
from grants.policy import ownership

EndReason = Grant.EndReason


def open_grants(request: Request, *, now: datetime, drain: timedelta | None) -> list[Grant]:
    """Open one grant per item, from now, for the requested duration. The caller records them with the approval.

    Only levels of machines have a drain, as long as the policy of the approval says. When the provider gives roles,
    each grant keeps the name of its role, and the role is due at once.
    """
    ends_at = now + request.duration
    identity = bindings.identity_for_roles(request.beneficiary_id)
    grants = [
        Grant.objects.create(
            request=request,
            asked=request.duration,
            beneficiary_id=request.beneficiary_id,
            resource_id=item.resource_id,
            level=item.level,
            idp_id=identity.idp_id if identity else None,
            role=bindings.role_of(item.resource, item.level) if identity else None,
            starts_at=now,
            ends_at=ends_at,
            drain_until=ends_at + drain if drain and Level.of(item.level) in SERVICES_ONLY else ends_at,
        )
        for item in request.items.select_related("resource__connection").order_by("pk")
    ]
    bindings.want(grants)
    due.hurry(token_job(request.beneficiary_id))
    return grants


DELIVERY = "token"  # the kind of the due rows that deliver tokens


def token_job(subject_id: int) -> str:
    """The name of the due row that delivers tokens to this service identity, if it has them delivered."""
    return f"{DELIVERY}:{subject_id}"


def give_back(grant: Grant, *, by: Subject) -> Grant:
    """End a grant early for its holder, or its team. Raises NotAllowed for others, Conflict when it is over."""
    if not service_identities.acts_for(by, grant.beneficiary):
        raise NotAllowed(Says.NOT_HELD)
    return _end(grant, EndReason.GIVEN_BACK, Verb.GRANT_GIVEN_BACK, by)


def revoke(grant: Grant, *, by: Subject) -> Grant:
    """End a grant early for an owner or an admin. Raises NotAllowed for others, Conflict when it is over."""
    if not may_revoke(grant, by):
        raise NotAllowed(Says.NOT_REVOCABLE)
    return _end(grant, EndReason.REVOKED, Verb.GRANT_REVOKED, by)


def may_revoke(grant: Grant, subject: Subject) -> bool:
    """May this person revoke the grant? Owners of the resource and admins may, also their own."""
    return roles.is_admin(subject) or ownership.owns(subject, grant.resource)


def enders_of(grants: Sequence[Grant]) -> Mapping[int, Subject]:
    """Who gave back or revoked each closed grant: its version is the number of the event that closed it."""
    closed = {grant.version: grant.pk for grant in grants if grant.closed_at}
    events = AuditEvent.objects.filter(pk__in=closed, verb__in=[Verb.GRANT_GIVEN_BACK, Verb.GRANT_REVOKED])
    actors = {closed[event.seq]: references.read(event.actor) for event in events}
    by = {grant: actor.pk for grant, actor in actors.items() if actor and actor.kind == "subject"}
    people = Subject.objects.in_bulk(by.values())
    return {grant: people[pk] for grant, pk in by.items() if pk in people}


def close_elapsed(*, limit: int = 50) -> int:
    """Close grants whose time is over; return how many. Their access ended on time without this."""
    due = Grant.objects.alias(until=Coalesce("ended_at", "ends_at")).filter(until__lte=StintNow())
    return _close(due, EndReason.ELAPSED, Verb.GRANT_ELAPSED, limit)


def close_left(*, limit: int = 50) -> int:
    """End the grants of people who left; return how many."""
    return _close(Grant.objects.filter(beneficiary__active=False), EndReason.LEFT, Verb.GRANT_LEFT, limit)


def close_of(*, subjects: Sequence[Subject], **_: Any) -> list[Grant]:
    """End the open grants of these subjects; the caller records them. Receives accounts.signals.coming_back."""
    mine = Grant.objects.filter(beneficiary__in=subjects, closed_at=None).order_by("pk")
    grants = list(mine.select_for_update(no_key=True, of=("self",)))
    _shut(grants, EndReason.LEFT, clock.now())
    return grants


def close_retired(*, limit: int = 50) -> int:
    """End the grants on retired resources; return how many."""
    gone = Grant.objects.filter(resource__retired_at__isnull=False)
    return _close(gone, EndReason.RETIRED, Verb.GRANT_RETIRED, limit)


def end_restored(grants: Sequence[Grant], now: datetime) -> list[Event]:
    """End grants that a restored backup revived, which the caller has locked; return the events for it to record."""
    _shut(grants, EndReason.REVOKED, now)
    return [Event(Verb.GRANT_REVOKED, {"grant": grant.pk}, [grant]) for grant in grants]


def _end(grant: Grant, reason: Grant.EndReason, verb: Verb, by: Subject) -> Grant:
    with transaction.atomic():
        # Locked before the clock is read: an UPDATE that waited for a lock does not read the clock again.
        grant = Grant.objects.select_for_update(no_key=True, of=("self",)).get(pk=grant.pk)
        now = clock.now()
        if grant.closed_at or grant.over_at <= now:
            raise Conflict(Says.OVER, grant=grant.ref)
        Grant.objects.filter(pk=grant.pk, closed_at=None).update(ended_at=now, closed_at=now, end_reason=reason)
        bindings.due_now([grant])
        record(verb, by=by, on=[grant], grant=grant.pk)
    grant.refresh_from_db()
    return grant


def _close(due: QuerySet[Grant], reason: Grant.EndReason, verb: Verb, limit: int) -> int:
    """Close a batch in one transaction with one event per row; skip rows that another worker has locked."""
    with transaction.atomic():
        open_due = due.filter(closed_at=None).order_by("pk")
        grants = list(open_due.select_for_update(no_key=True, skip_locked=True, of=("self",))[:limit])
        if not grants:
            return 0
        _shut(grants, reason, clock.now())
        record_all([Event(verb, {"grant": grant.pk}, [grant]) for grant in grants], by="sweeper")
    return len(grants)


def _shut(grants: Sequence[Grant], reason: Grant.EndReason, now: datetime) -> None:
    """Close rows that the caller has locked and will record."""
    rows = Grant.objects.filter(pk__in=[grant.pk for grant in grants], closed_at=None)
    if reason == EndReason.ELAPSED:
        rows.update(closed_at=now, end_reason=reason)  # the clock made its roles due already
    else:
        # A grant that has elapsed keeps its end.
        rows.update(closed_at=now, end_reason=reason, ended_at=Least(Coalesce("ended_at", "ends_at"), now))
        bindings.due_now(grants)
