from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from grants.catalog.levels import KINDS, LEVELS_OF
from grants.gate.decision.types import Code
from grants.lifecycle import standing
from grants.policy.language import parse_policy
from grants.policy.wording import duration
from grants.web.policy import in_words
from grants.web.words import gate, things, times
from tests.tokens.scene import WORKERS

NOW = datetime(2026, 11, 24, 13, 20, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (42, "42 s"),
        (1800, "30 min"),
        (8100, "2 h 15 min"),
        (28800, "8 h"),
        (86400, "1 day"),
        (100800, "1 day 4 h"),
        (2 * 86400 + 59, "2 days"),
    ],
)
def test_a_length_is_said_in_its_two_largest_units(seconds: int, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(22 * 60, "22 min left"), (252, "4 min 12 s left"), (40, "40 s left"), (0, "ended"), (-1, "ended")],
)
def test_what_is_left_counts_seconds_only_at_the_end(seconds: int, said: str) -> None:
    assert times.left(NOW + timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2026, 11, 24, 17, 23, tzinfo=UTC), "18:23 today"),
        (datetime(2026, 11, 24, 23, 30, tzinfo=UTC), "00:30 tomorrow"),
        (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "00:30 yesterday"),
        (datetime(2026, 12, 2, 8, 0, tzinfo=UTC), "2 Dec 09:00"),
        (datetime(2025, 11, 24, 8, 0, tzinfo=UTC), "24 Nov 2025 09:00"),
    ],
)
def test_a_moment_is_said_by_the_wall_clock_of_the_reader(at: datetime, said: str) -> None:
    assert times.when(at, NOW, BERLIN) == said


@pytest.mark.parametrize(("length", "soon"), [(24 * 60, 30), (120, 30), (60, 15), (30, 7.5), (5, 1.25)])
def test_a_grant_is_what_its_window_says(length: float, soon: float) -> None:
    """It ends soon for its last half hour, or the last quarter of a short one. Fault: half an hour is born alarmed."""
    begin, end = NOW, NOW + timedelta(minutes=length)
    states = {
        begin - timedelta(seconds=1): "scheduled",
        begin: "granted",
        end - timedelta(minutes=soon): "granted",
        end - timedelta(minutes=soon) + timedelta(microseconds=1): "ending",
        end: "ended",
    }
    assert {at: standing.state_of(begin, end, at) for at in states} == states


def test_every_level_of_every_kind_has_words() -> None:
    for kind in KINDS:
        assert things.KINDS[kind].icon
        for level in LEVELS_OF[kind]:
            assert things.level_means(level.word, kind).endswith(".")


def test_a_policy_says_what_becomes_of_running_work() -> None:
    (workers,) = in_words.rules(parse_policy("version: 1\nrules:\n" + WORKERS), hidden_too=True)
    assert "runs that are still going at the end may report for 20 min" in workers.lines
    cut = parse_policy("version: 1\nrules:\n" + WORKERS.replace("20m", "0m"))
    assert "runs that are still going at the end are cut off" in in_words.rules(cut, hidden_too=True)[0].lines


@pytest.mark.parametrize("code", Code)
def test_each_reason_of_the_gate_has_words(code: str) -> None:
    """Fault: a grant's page says "Refused (busy)"."""
    assert f"({code})" not in gate.refused(code)
