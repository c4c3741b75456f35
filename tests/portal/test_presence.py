"""Who asks whether the database answers, asks as a role that may be answered as."""

from __future__ import annotations

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
