"""What a grant was used for."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from grants import clock, due, tasks
from grants.due import DueJob
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.tokens import issue, usage
from grants.tokens.models import Credential, GateUsage
from grants.tokens.usage import RefusalCount, RouteUsage
from tests.cast import Cast
from tests.conftest import connect

pytestmark = pytest.mark.usefixtures("commits")

NOON, LATER = datetime(2026, 11, 24, 12, tzinfo=UTC), datetime(2026, 11, 24, 13, tzinfo=UTC)

type Count = Callable[[Credential, str, str, datetime, int], None]


@pytest.fixture
def count() -> Count:
    def of(token: Credential, route: str, code: str, minute: datetime, n: int) -> None:
        row = {
            "minute": minute.isoformat(), "gate": "g", "credential_id": token.pk, "route": route, "code": code, "n": n,
        }  # fmt: skip
        with connect("stint_gate", autocommit=True) as gate:
            gate.execute("SELECT gate_use(%s)", [json.dumps([row])])

    return of


@pytest.fixture
def grant(cast: Cast) -> Grant:
    return decide.approve(cast.asks(), by=cast.chiara).grants.get()


def test_by_route_and_by_token(cast: Cast, grant: Grant, count: Count) -> None:
    first, second = (issue.issue(grant, by=cast.ada).credential for _ in range(2))
    other = decide.approve(cast.asks(cast.ben), by=cast.chiara).grants.get()
    count(issue.issue(other, by=cast.ben).credential, "GET /flows", "ok", NOON, 100)
    count(first, "GET /flows", "ok", NOON, 2)
    count(second, "GET /flows", "ok", LATER, 3)
    count(first, "GET /flows", "no_grant", NOON, 4)
    count(first, "POST /runs", "guard", LATER, 1)
    used, refused = usage.of_grant(grant)
    assert used == [
        RouteUsage("GET /flows", 5, 4, NOON, LATER),
        RouteUsage("POST /runs", 0, 1, LATER, LATER),
    ]
    assert refused == [RefusalCount("no_grant", 4), RefusalCount("guard", 1)]
    listed = [(one.credential, one.last_used, one.calls, one.refused) for one in issue.of_grant(grant)]
    assert listed == [(second, LATER, 3, 0), (first, LATER, 2, 5)]


def test_nothing_was_done(cast: Cast, grant: Grant) -> None:
    issue.issue(grant, by=cast.ada)
    assert usage.of_grant(grant) == usage.NOTHING
    (listed,) = issue.of_grant(grant)
    assert (listed.last_used, listed.calls, listed.refused) == (None, 0, 0)


def test_what_is_older_than_a_week_is_kept_by_the_day(
    cast: Cast, grant: Grant, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issue.issue(grant, by=cast.ada).credential
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    old, edge = today - timedelta(days=9), today - timedelta(days=7)
    for at in (old, old + timedelta(hours=3), old + timedelta(hours=23, minutes=59), edge, today):
        count(token, "GET /flows", "ok", at, 2)
    count(token, "GET /flows", "no_grant", old + timedelta(hours=5), 1)
    before = usage.of_grant(grant)
    monkeypatch.setattr(usage, "FOLDED_AT_ONCE", 3)
    assert usage.fold()
    assert not usage.fold()
    assert not usage.fold()
    assert set(GateUsage.objects.values_list("minute", "gate", "code", "n")) == {
        (old, "", "ok", 6), (old, "", "no_grant", 1), (edge, "g", "ok", 2), (today, "g", "ok", 2),
    }  # fmt: skip
    assert usage.of_grant(grant) == before
    assert before[0] == [RouteUsage("GET /flows", 10, 1, old, today)]


def test_workers_that_fold_at_once_count_each_row_once(grant: Grant, count: Count, cast: Cast) -> None:
    tokens = [issue.issue(grant, by=cast.ada).credential for _ in range(3)]
    old = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=12)
    for token in tokens:
        for hour in range(40):
            count(token, "GET /flows", "ok", old + timedelta(hours=hour), hour + 1)
    together = Barrier(4)

    def worker(_: int) -> int:
        with connect("stint_app", autocommit=True) as database:
            together.wait()
            return sum(
                database.execute("SELECT gate_usage_fold(5)").fetchone()[0]  # type: ignore[index]
                for _ in range(40)
            )

    with ThreadPoolExecutor(4) as crew:
        folded = list(crew.map(worker, range(4)))
    assert sum(folded) == 120
    assert GateUsage.objects.exclude(gate="").count() == 0
    assert GateUsage.objects.count() == 6  # three tokens, two days
    assert usage.of_grant(grant)[0] == [RouteUsage("GET /flows", 3 * 820, 0, old, old + timedelta(days=1))]


def test_the_job_comes_back_at_once_while_there_is_more(monkeypatch: pytest.MonkeyPatch, cast: Cast) -> None:
    due.ensure("usage")
    for more, least in ((True, timedelta(0)), (False, timedelta(minutes=59))):
        monkeypatch.setattr(usage, "fold", lambda more=more: more)
        tasks.run("usage")
        job = DueJob.objects.get(name="usage")
        assert least <= job.due_at - clock.now() + timedelta(seconds=5) <= least + timedelta(minutes=2)
        assert job.lease_until is None
