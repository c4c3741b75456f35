"""What a page asks of the database: little, nothing twice, and no more where there is more."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from tests.cast import Cast
from tests.web.conftest import SignIn
from tests.web.scene import busy_day

# At most so many, whoever opens it. The frame is /settings: session, person with teams, roles, policy and time, what is
# held, what waits, which of that is asked of them. The goal of all is 12.
PAGES = {
    "/": 12,
    "/inbox": 6,
    "/inbox?tab=decided": 7,
    "/access": 8,
    "/catalog": 11,
    "/catalog?q=orders&kind=deployment": 12,
    "/catalog?mine=ask": 12,
    "/catalog/{resource}": 12,
    "/requests/new": 9,
    "/requests/new?item={resource}:view&find=orders": 13,
    "/requests/{request}": 12,
    "/requests/{pending}": 12,
    "/grants/{grant}": 12,
    "/history": 12,
    "/history?person=ada&q=orders": 12,
    "/history?state=live": 12,
    "/services": 8,
    "/connections": 8,
    "/policy": 8,
    "/settings": 5,
}


def queries(sign_in: SignIn, who: object, page: str) -> list[str]:
    client = sign_in(who)  # type: ignore[arg-type]
    client.get(page)  # what is read once for a process
    with CaptureQueriesContext(connection) as asked:
        assert client.get(page).status_code == 200
    return [query["sql"] for query in asked.captured_queries]


def busy(cast: Cast) -> dict[str, int]:
    """A day with something on every page; the numbers that addresses hold."""
    pending = busy_day(cast)
    grant = Grant.objects.filter(beneficiary=cast.ada, resource=cast.deployment).order_by("pk")[0]
    return {"pending": pending.pk, "resource": cast.deployment.pk, "grant": grant.pk, "request": grant.request_id}


def sees(cast: Cast, who: str, page: str) -> bool:
    """Ada does not see what ben asked for."""
    return not (who == "ada" and "{pending}" in page)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["ada", "chiara", "olga"])
def test_a_page_asks_little_and_nothing_twice(cast: Cast, sign_in: SignIn, page: str, who: str) -> None:
    numbers = busy(cast)
    if not sees(cast, who, page):
        pytest.skip("not theirs to see")
    asked = queries(sign_in, getattr(cast, who), page.format(**numbers))
    twice = [sql for sql, times in Counter(asked).items() if times > 1 and "stint_now()" not in sql]
    assert not twice, "\n".join(twice)
    assert len(asked) <= PAGES[page], "\n".join(asked)


@pytest.mark.parametrize("page", ["/", "/inbox", "/inbox?tab=decided", "/access", "/catalog", "/history", "/services"])
@pytest.mark.parametrize("who", ["ada", "chiara"])
def test_a_page_asks_no_more_for_more_rows(cast: Cast, sign_in: SignIn, page: str, who: str) -> None:
    busy_day(cast)
    person = getattr(cast, who)
    few = queries(sign_in, person, page)
    for _ in range(6):
        decide.approve(cast.asks(cast.ada, (cast.deployment, "run"), minutes=30), by=cast.chiara)
    for _ in range(3):
        decide.withdraw(cast.asks(cast.ada, (cast.deployment, "view")), by=cast.ada)
    many = queries(sign_in, person, page)
    assert len(many) == len(few), "\n".join(many)
