"""Say whether something needs an admin's attention, with one query; pages read the details only when it does."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from accounts.models import IdP, Subject
from accounts.written import Written, a_row, a_time
from grants.catalog.models import Connection
from grants.due import worker_beats
from grants.lifecycle import bindings
from grants.lifecycle.models import RoleBinding
from grants.policy.models import PolicyRefusal, PolicyVersion


class AdminAlerts(NamedTuple):
    roles: bool  # a role is overdue
    connections: bool  # a sync failed, or resources are held
    providers: bool  # the last read of people failed or found something wrong
    policies: bool  # a file was refused after the policy in force was applied
    worker: datetime | None  # the last sign of life of any worker


def at(now: datetime, viewer: Subject) -> AdminAlerts:
    (asked,) = _asked(who=viewer.pk, late=now - bindings.OVERDUE)
    return AdminAlerts(*asked)


class LateRoles(NamedTuple):
    """Roles at one provider that are given, or taken back, later than they should be."""

    idp: IdP
    giving: bool
    n: int
    since: datetime | None  # of the one that is owed longest
    cause: str  # of the first that has one; "": nobody has tried


def late_roles(now: datetime) -> list[LateRoles]:
    """Late roles by provider, those that are to be taken back first."""
    found: dict[tuple[int, bool], list[RoleBinding]] = {}
    for binding in bindings.overdue(now):
        found.setdefault((binding.idp_id, binding.is_giving), []).append(binding)
    return [
        LateRoles(
            idp=late[0].idp,
            giving=giving,
            n=len(late),
            since=late[0].owed_from,
            cause=next((binding.last_error for binding in late if binding.last_error), ""),
        )
        for (_, giving), late in sorted(found.items(), key=lambda each: each[0][1])
    ]


def connections() -> QuerySet[Connection]:
    """Return the connections whose last sync failed, or of which too many resources vanished at once."""
    return Connection.objects.filter(~Q(error="") | Q(held__gt=0)).order_by("slug")


def providers() -> QuerySet[IdP]:
    """Return the providers whose people could not be read, or with another problem."""
    return IdP.objects.exclude(error="").order_by("slug")


@Written
def _asked() -> QuerySet[Any, Any]:
    since = PolicyVersion.objects.filter(applied_at__gte=OuterRef("at"))
    return Subject.objects.filter(
        pk=a_row("who")
    ).values_list(  # always one row
        Exists(bindings.owed_before(a_time("late"))),
        Exists(connections()),
        Exists(providers()),
        Exists(PolicyRefusal.objects.filter(~Exists(since))),
        Subquery(worker_beats().order_by("-at").values("at")[:1]),
    )
