"""Read what a grant was used for, as the gates counted it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import BigIntegerField, Max, Min, QuerySet, Sum
from django.db.models.functions import Cast

from accounts.written import Written, a_row
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


type Told = tuple[list[RouteUsage], list[RefusalCount]]

NOTHING: Told = ([], [])


def of_grant(grant: Grant) -> Told:
    """What the tokens of a grant were used for, by route, and why calls with them were refused, by code; what is most
    frequent first. Browser sessions are of no one grant."""
    routes: dict[str, RouteUsage] = {}
    codes: Counter[str] = Counter()
    for route, code, n, first, last in _usage(grant=grant.pk):
        passed, had = code == PASSED, routes.get(route) or RouteUsage(route, 0, 0, first, last)
        calls, refused = had.calls + n * passed, had.refused + n * (not passed)
        routes[route] = RouteUsage(route, calls, refused, min(had.first, first), max(had.last, last))
        if not passed:
            codes[code] += n
    used = sorted(routes.values(), key=lambda one: (-one.calls, -one.refused, one.route))
    return used, [RefusalCount(code, n) for code, n in sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))]


@Written
def _usage() -> QuerySet[GateUsage, Any]:
    of_tokens = GateUsage.objects.filter(credential__grant=a_row("grant")).values_list("route", "code")
    n = Cast(Sum("n"), BigIntegerField())  # a sum of bigints is a numeric
    return of_tokens.annotate(calls=n, first=Min("minute"), last=Max("minute")).order_by()


def fold() -> bool:
    """Fold some of the counts older than a week from minutes into days; return whether there may be more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT gate_usage_fold(%s)", [FOLDED_AT_ONCE])
        (folded,) = cursor.fetchone()
    return bool(folded == FOLDED_AT_ONCE)


@due.job("usage", standing=lambda: ["usage"])
def _fold_due(_which: str) -> timedelta:
    return timedelta(0) if fold() else timedelta(hours=1)
