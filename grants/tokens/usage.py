"""What a grant was used for, as the gates counted it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import Max, Min, Q, Sum

from grants import due
from grants.lifecycle.models import Grant
from grants.tokens.models import GateUsage

FOLDED_AT_ONCE = 20_000  # rows: some seconds
PASSED = "ok"  # the code of calls that were let through; every other code is why they were not


class Used(NamedTuple):
    """One route, by all tokens of a grant."""

    route: str  # "POST /api/deployments/{id}/create_flow_run"
    calls: int
    refused: int
    first: datetime
    last: datetime  # to the minute


class Refused(NamedTuple):
    code: str
    n: int


def of_grant(grant: Grant) -> list[Used]:
    """What the tokens of a grant were used for, the most used first. Browser sessions are of no one grant."""
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
    return [Used(route, int(calls), int(refused), first, last) for route, calls, refused, first, last in rows]


def refusals_of(grant: Grant) -> list[Refused]:
    """Why calls with a grant's tokens were refused, by code, the most frequent first."""
    rows = GateUsage.objects.filter(credential__grant=grant).exclude(code=PASSED)
    return [Refused(*row) for row in rows.values_list("code").annotate(total=Sum("n")).order_by("-total", "code")]


def fold() -> bool:
    """Keep what is older than a week by the day, a part of it; whether there may be more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT gate_usage_fold(%s)", [FOLDED_AT_ONCE])
        (folded,) = cursor.fetchone()
    return bool(folded == FOLDED_AT_ONCE)


@due.job("usage", standing=lambda: ["usage"])
def _fold_due(_which: str) -> timedelta:
    return timedelta(0) if fold() else timedelta(hours=1)
