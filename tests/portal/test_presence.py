"""Who asks whether the database answers, asks as a role that may be answered as."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg
import pytest
from structlog.testing import capture_logs

from portal.postgres import presence
from portal.postgres.presence import Presence
from tests.conftest import connect


class Enough(BaseException):
    """The thread's work is over."""


def asked(times: int, open_one: Callable[[], psycopg.Connection]) -> Presence:
    """A presence that has asked so often, in this thread."""
    asks, left = Presence(), times
    asks._answered = float("-inf")

    def once() -> psycopg.Connection:
        nonlocal left
        if not left:
            raise Enough
        left -= 1
        return open_one()

    with pytest.raises(Enough):
        asks._ask(once)
    return asks


@pytest.mark.parametrize("role", ["superuser", "stint_owner"])
def test_a_role_that_could_change_the_record_is_as_good_as_away(
    commits: None, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """Fault: a presence that only asks `SELECT 1`: /readyz says ready, and every page 503."""
    monkeypatch.setattr(presence, "ASK_EVERY", 0)
    with capture_logs() as logs:
        asks = asked(3, partial(connect, role, autocommit=True))
    assert asks.away()
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("database_role_refused", "error")
    assert "STINT_DATABASE_URL" in line["why"]


def test_the_role_as_it_should_be_is_answered(commits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_seconds: float) -> None:
        raise Enough

    monkeypatch.setattr(time, "sleep", sleep)
    asks = asked(1, partial(connect, "stint_app", autocommit=True))
    assert asks._answered != float("-inf")


def test_nobody_waits_for_a_connection_to_a_database_that_is_away(commits: None) -> None:
    """libpq waits for two seconds or more, for each address. Fault: `return connect()`: this never ends."""
    frozen, late = threading.Event(), []
    began = threading.Event()

    def connect_late() -> psycopg.Connection:
        began.set()
        assert frozen.wait(30)
        late.append(connect("stint_app"))
        return late[0]

    asks = Presence()
    asks._answered = time.monotonic()
    assert asks.awaited(connect_late) is None
    assert began.is_set()
    assert asks.away()
    frozen.set()
    deadline = time.monotonic() + 30
    while not (late and late[0].closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert late[0].closed, "what comes too late is not left open"


def test_a_connection_that_comes_in_time_is_handed_on(commits: None) -> None:
    asks = Presence()
    asks._answered = float("inf")
    with asks.awaited(partial(connect, "stint_app")) as opened:  # type: ignore[union-attr]
        assert opened.execute("SELECT 1").fetchone() == (1,)

    def refused() -> psycopg.Connection:
        raise psycopg.OperationalError("no room")

    with pytest.raises(psycopg.OperationalError, match="no room"):
        asks.awaited(refused)


def test_all_waits_together_leave_time_for_the_page() -> None:
    """Docs promise it within two seconds; each wait of a page ends by this one rule."""
    assert presence.AWAY_AFTER + 2 * presence.LOOK_EVERY <= 1.5
    assert presence.AWAY_AFTER >= 3 * presence.ASK_EVERY, "one answer that is late is no outage"
