"""Read what a grant was used for, as the gates counted it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import Max, Min, Q, Sum

from grants import due
from grants.lifecycle.models import Grant
from grants.tokens.models import GateUsage

FOLDED_AT_ONCE = 20_000  # rows, which take some seconds
PASSED = "ok"  # the code of calls that were let through; every other code is the reason of a refusal


class RouteUsage(NamedTuple):
    """The calls of one route with all tokens of a grant."""

    route: str  # "POST /api/deployments/{id}/create_flow_run"
    calls: int
    refused: int
    first: datetime
    last: datetime  # to the minute


class RefusalCount(NamedTuple):
    code: str
    n: int


def of_grant(grant: Grant) -> list[RouteUsage]:
    """List the routes that the tokens of a grant called, the most used first. Browser sessions belong to no grant."""
    passed = Q(code=PASSED)
    rows = (
        GateUsage.objects.filter(credential__grant=grant)
        .values_list("route")
        .annotate(
            calls=Sum("n", filter=passed, default=0),
            refused=Sum("n", filter=~passed, default=0),
            first=Min("minute"),
            last=Max("minute"),
        )
        .order_by("-calls", "-refused", "route")
    )
    return [RouteUsage(route, int(calls), int(refused), first, last) for route, calls, refused, first, last in rows]


def refusals_of(grant: Grant) -> list[RefusalCount]:
    """Count the refused calls with a grant's tokens by code, the most frequent first."""
    rows = GateUsage.objects.filter(credential__grant=grant).exclude(code=PASSED)
    return [RefusalCount(*row) for row in rows.values_list("code").annotate(total=Sum("n")).order_by("-total", "code")]


def fold() -> bool:
    """Fold some of the counts older than a week from minutes into days; return whether there may be more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT gate_usage_fold(%s)", [FOLDED_AT_ONCE])
        (folded,) = cursor.fetchone()
    return bool(folded == FOLDED_AT_ONCE)


@due.job("usage", standing=lambda: ["usage"])
def _fold_due(_which: str) -> timedelta:
    return timedelta(0) if fold() else timedelta(hours=1)
