"""Have the tokens of a service identity delivered to it: who may, in which way, and what came of the last attempt.

A Celery task delivers, and takes its work from a due row. The process that makes a token also delivers it, so no token
passes the broker. A way of delivery is a module beside this one, which registers its kind.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from django.db import transaction
from django.db.models import Exists, Subquery

from accounts import service_identities
from accounts.errors import NotAllowed
from accounts.models import Subject
from grants import due
from grants.adapters.errors import AdapterError
from grants.audit import Verb, record
from grants.clock import StintNow
from grants.lifecycle.access import DELIVERY, token_job
from grants.tokens.models import Delivery
from grants.tokens.sentences import Says


class DeliveryKind(Protocol):
    """One way in which tokens reach a service identity."""

    def target(self, service_id: int) -> str:
        """Return where the tokens are delivered, as its team reads it."""
        ...

    def deliver(self, service_id: int) -> timedelta:
        """Deliver missing and expiring tokens, withdraw those that are over; return when to look again.

        Done twice, it does no harm. Raises AdapterError or OSError.
        """
        ...


KINDS: dict[str, DeliveryKind] = {}


def register(kind: Delivery.Kind, by: DeliveryKind) -> None:
    """Deliver by this whatever is of this kind."""
    assert kind not in KINDS, kind
    KINDS[kind] = by


class Status(NamedTuple):
    """What pages say of a delivery."""

    target: str
    state: Delivery.State
    error: str  # of the last attempt; empty if that succeeded
    next_try: datetime


def status_of(service: Subject) -> Status | None:
    """Return how the delivery to this identity stands; None when its tokens are not delivered.

    Without its job nothing is delivered: it can be begun again.
    """
    next_try = Subquery(due.DueJob.objects.filter(name=token_job(service.pk)).values("due_at"))
    found = Delivery.objects.filter(subject=service).annotate(next_try=next_try).first()
    if found is None or found.next_try is None:
        return None
    return Status(KINDS[found.kind].target(service.pk), found.state, found.error, found.next_try)


def begin(service: Subject, *, by: Subject | str) -> None:
    """Deliver tokens for every live grant of this identity, from now on. Raises NotAllowed.

    `by` is a person, or "cli" for a command on the portal's machine.
    """
    _permit(service, by)
    with transaction.atomic():
        _, begun = Delivery.objects.get_or_create(subject=service, defaults={"kind": Delivery.Kind.FILES})
        due.ensure(token_job(service.pk))
        if begun:
            record(Verb.DELIVERY_BEGUN, by=by, subject=service.pk)


def end(service: Subject, *, by: Subject) -> None:
    """Stop delivery. Delivered tokens work until they expire or are revoked. Raises NotAllowed."""
    _permit(service, by)
    with transaction.atomic():
        Delivery.objects.filter(subject=service).delete()
        due.forget(token_job(service.pk))
        record(Verb.DELIVERY_ENDED, by=by, subject=service.pk)


@due.job(DELIVERY)
def deliver_due(subject_id: str) -> timedelta:
    """Deliver to this identity, and keep what came of it. A job of no delivery (any more) ends."""
    row = Delivery.objects.filter(subject=int(subject_id))
    delivery = row.first()
    if delivery is None:
        # Not if it was begun a moment ago: what is deleted here would not come back.
        due.DueJob.objects.filter(~Exists(row), name=token_job(int(subject_id))).delete()
        return timedelta(0)
    try:
        again = KINDS[delivery.kind].deliver(delivery.pk)
    except (AdapterError, OSError) as error:
        row.update(error=_reason(error))
        raise
    row.update(error="", delivered_at=StintNow())
    return again


def _reason(error: AdapterError | OSError) -> str:
    """For the page: what the system said, without the path."""
    if isinstance(error, AdapterError):
        return error.reason
    return error.strerror or str(error) or type(error).__name__


def _permit(service: Subject, by: Subject | str) -> None:
    if service.team is None or not (isinstance(by, str) or service_identities.may_manage(service.team, by)):
        raise NotAllowed(Says.NOT_DELIVERED)
