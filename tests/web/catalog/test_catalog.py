"""Find a resource: search, facets, paging; what one may ask for and why not."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from grants import clock
from grants.catalog.models import Connection, Resource
from grants.lifecycle import decide
from grants.policy import versions
from grants.web.catalog import browse
from tests.cast import POLICY, Cast
from tests.web.conftest import SignIn
from tests.web.scene import more_resources


def names(page: str) -> list[str]:
    return [
        part.split("<")[0]
        for part in page.split('class="thing-name plain-link"')[1:]
        for part in [part.split(">", 1)[1]]
    ]


def test_all_that_is_there_by_name(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.ada).get("/catalog").text
    assert names(page) == ["etl", "etl/prod", "prefect-prod", "stray/adhoc"]
    assert "4 resources from 1 connection." in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=prod+pii", ["etl/prod"]),
        ("q=PLATFORM", ["etl", "etl/prod"]),
        ("q=%25", []),
        ("q=a%00b", []),
        ("kind=pool", ["etl"]),
        ("kind=pool&kind=server", ["etl", "prefect-prod"]),
        ("kind=pool&tag=prod", []),
        ("owner=platform", ["etl", "etl/prod"]),
        ("owner=nobody", ["prefect-prod", "stray/adhoc"]),
        ("connection=prefect-prod&environment=production&kind=deployment", ["etl/prod", "stray/adhoc"]),
        ("connection=nope", []),
        ("kind=a%00b", []),
        ("mine=ask", ["etl", "etl/prod", "stray/adhoc"]),
        ("mine=have", []),
    ],
)
def test_it_is_narrowed_by_the_address(cast: Cast, sign_in: SignIn, query: str, found: list[str]) -> None:
    answer = sign_in(cast.ada).get(f"/catalog?{query}")
    assert answer.status_code == 200
    assert names(answer.text) == found
    assert ("empty-title" in answer.text) == (not found)


def test_a_filter_that_is_on_can_be_taken_off_and_keeps_the_rest(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.ada).get("/catalog?q=etl&kind=pool&owner=platform&page=1").text
    assert 'href="?q=etl&amp;owner=platform" aria-label="Remove filter Work pool"' in page


@pytest.mark.parametrize(
    ("number", "first"),
    [("1", "1–25 of 39"), ("2", "26–39 of 39"), ("99", "26–39"), ("x", "1–25"), ("-1", "26–39")],
)
def test_pages(cast: Cast, sign_in: SignIn, number: str, first: str) -> None:
    more_resources(cast, extra=30)
    page = sign_in(cast.ada).get(f"/catalog?kind=deployment&kind=pool&kind=block&kind=server&page={number}").text
    assert first in page
    assert "kind=deployment&amp;kind=pool" in page


def test_the_number_of_queries_does_not_grow_with_the_catalog(cast: Cast, sign_in: SignIn) -> None:
    """Neither does a rule that hides things, a search, a filter, or the person as whom somebody owns them."""
    versions.apply(HIDING, by=None)
    clients = [sign_in(who) for who in (cast.ada, cast.chiara, cast.oscar)]
    addresses = (
        "/catalog",
        "/catalog?q=etl",
        "/catalog?mine=ask",
        "/catalog?owner=platform&kind=pool",
        "/requests/new?find=etl",
    )

    def counted() -> list[int]:
        found = []
        for client in clients:
            for address in addresses:
                with CaptureQueriesContext(connection) as queries:
                    assert client.get(address).status_code == 200
                found.append(len(queries))
        return found

    counted()  # some are asked once a process
    before = counted()
    more_resources(cast, extra=200)
    assert counted() == before
    assert max(before) <= 30


def test_more_than_can_be_counted_is_said_to_be(cast: Cast, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "MOST", 8)
    more_resources(cast, extra=30)
    page = sign_in(cast.ada).get("/catalog").text
    assert "More than 8 resources from 1 connection." in page
    assert "More than 8 results" in page
    assert "1–8 of 8" in page
    assert "check-count" not in page
    few = sign_in(cast.ada).get("/catalog?q=stray").text
    assert "1 result<" in few
    assert "check-count" in few


def test_what_is_held_and_what_is_pending_is_said(cast: Cast, sign_in: SignIn) -> None:
    decide.approve(cast.asks(minutes=120), by=cast.chiara)
    asked = cast.asks(cast.ada, (cast.pool, "view"))
    page = sign_in(cast.ada).get("/catalog").text
    assert "run, <span data-until=" in page
    assert "view, pending" in page
    assert f'href="/requests/{asked.pk}" aria-label="View request for etl"' in page
    assert names(sign_in(cast.ada).get("/catalog?mine=have").text) == ["etl/prod"]
    assert names(sign_in(cast.ben).get("/catalog?mine=have").text) == []


def test_an_orchestrator_that_is_down_is_said_and_asking_goes_on(cast: Cast, sign_in: SignIn) -> None:
    Connection.objects.update(error="connect to http://10.0.0.7:4200/api failed")
    client = sign_in(cast.ada)
    page = client.get("/catalog").text
    assert "prefect-prod does not answer" in page
    assert "10.0.0.7" not in page  # inside matters are for admins
    assert client.get(f"/requests/new?item={cast.pool.pk}").status_code == 200
    cast.asks()


def test_the_retired_are_out_of_the_way(cast: Cast, sign_in: SignIn) -> None:
    Resource.objects.filter(pk=cast.pool.pk).update(retired_at=clock.now())
    client = sign_in(cast.ada)
    assert "etl" not in names(client.get("/catalog").text)
    page = client.get("/catalog?retired=1").text
    assert "etl" in names(page)
    assert f"/requests/new?item={cast.pool.pk}" not in page
    assert "It is gone from its orchestrator" in client.get(f"/catalog/{cast.pool.pk}").text


HIDING = (
    POLICY.replace("  - name: pools-two\n", "  - name: pools-two\n    discoverable: false\n")
    .replace("manage]}\n    ask: anyone", "manage]}\n    ask: [{team: ingest}]")
    .replace("level: view}\n    ask: anyone", "level: view}\n    ask: [{team: ingest}]")
)


def test_what_the_policy_hides_is_nowhere(cast: Cast, sign_in: SignIn) -> None:
    versions.apply(HIDING, by=None)
    outsider, insider, owner = (sign_in(who) for who in (cast.oscar, cast.ada, cast.chiara))
    assert "etl" not in names(outsider.get("/catalog").text)
    assert outsider.get(f"/catalog/{cast.pool.pk}").status_code == 404
    assert "3 resources" in outsider.get("/catalog").text
    new = outsider.get(f"/requests/new?item={cast.pool.pk}&find=etl").text
    assert "not in the catalog, or not yours to see" in new
    assert f'name="add" value="{cast.pool.pk}"' not in new
    assert f'/catalog/{cast.pool.pk}"' not in outsider.get(f"/catalog/{cast.deployment.pk}").text
    for client in (insider, owner, sign_in(cast.priya)):
        assert client.get(f"/catalog/{cast.pool.pk}").status_code == 200


def test_a_resource_says_what_may_be_asked_of_whom_and_why_not(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in(cast.ada).get(f"/catalog/{cast.deployment.pk}").text
    assert "Orders into the warehouse" in page
    assert "8 h at most" in page
    assert "<strong>Chiara</strong>" in page
    assert f"/requests/new?item={cast.deployment.pk}:run" in page
    assert "Rule deployments-run allows view, run, operate" in page
    assert f"item={cast.deployment.pk}:manage" not in page


def test_the_history_of_a_resource_is_what_one_may_see(cast: Cast, sign_in: SignIn) -> None:
    asked = cast.asks(cast.ben)
    address = f"/catalog/{cast.deployment.pk}"
    assert f"/requests/{asked.pk}" in sign_in(cast.chiara).get(address).text
    assert f"/requests/{asked.pk}" not in sign_in(cast.ada).get(address).text


def test_without_a_policy_nothing_may_be_asked(cast: Cast, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "in_force", lambda: None)
    client = sign_in(cast.ada)
    assert "No policy is in force" in client.get(f"/catalog/{cast.deployment.pk}").text
    assert "/requests/new?item=" not in client.get("/catalog").text
