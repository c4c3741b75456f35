"""What a page asks of the database does not grow with what there is."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from grants.lifecycle import decide
from tests.cast import Cast
from tests.web.conftest import SignIn
from tests.web.scene import busy_day

PAGES = (
    "/",
    "/inbox",
    "/inbox?tab=decided",
    "/access",
    "/history",
    "/history?person=ada&q=orders",
    "/history?state=live",
)


def queries(sign_in: SignIn, who: object, page: str) -> list[str]:
    client = sign_in(who)  # type: ignore[arg-type]
    client.get(page)  # what is read once for a process
    with CaptureQueriesContext(connection) as asked:
        assert client.get(page).status_code == 200
    return [query["sql"] for query in asked.captured_queries]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["ada", "chiara", "olga"])
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
