"""Whether something needs an admin's look now: asked at once; what it is, is read where there is something."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from accounts.models import IdP, Subject
from accounts.written import Written, a_row, a_time
from grants.catalog.models import Connection
from grants.due import worker_beats
from grants.lifecycle import bindings
from grants.policy.models import PolicyRefusal, PolicyVersion


class AdminAlerts(NamedTuple):
    roles: bool  # that are overdue
    connections: bool
    providers: bool
    policies: bool  # one was refused since
    worker: datetime | None  # was heard last


def at(now: datetime, viewer: Subject) -> AdminAlerts:
    (asked,) = _asked(who=viewer.pk, late=now - bindings.OVERDUE)
    return AdminAlerts(*asked)


def connections() -> QuerySet[Connection]:
    """Whose last sync failed, or that lost too much at once."""
    return Connection.objects.filter(~Q(error="") | Q(held__gt=0)).order_by("slug")


def providers() -> QuerySet[IdP]:
    """Whose people could not be read, or that show something else that is wrong."""
    return IdP.objects.exclude(error="").order_by("slug")


@Written
def _asked() -> QuerySet[Any, Any]:
    since = PolicyVersion.objects.filter(applied_at__gte=OuterRef("at"))
    return Subject.objects.filter(
        pk=a_row("who")
    ).values_list(  # one row, whatever there is
        Exists(bindings.owed_before(a_time("late"))),
        Exists(connections()),
        Exists(providers()),
        Exists(PolicyRefusal.objects.filter(~Exists(since))),
        Subquery(worker_beats().order_by("-at").values("at")[:1]),
    )
