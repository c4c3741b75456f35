"""What people type: what of it can be seen, and what may not stand in it."""

from __future__ import annotations

import pytest

from accounts import service_identities
from accounts.errors import NotAllowed
from accounts.models import Team
from accounts.typed import hidden_in, seen_in
from tests.cast import Cast


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", 0),
        ("          ", 0),
        ("a          b", 3),  # the blanks between are one
        ("two\r\n\r\nlines", 9),
        ("\u200b\u200c\u200d\u2060", 0),
        ("\u3164\u2800\u115f\u1160\uffa0", 0),  # letters and symbols of which nothing is drawn
        ("e\u0301\u0301\u0301\u0301", 1),  # marks on one letter
        ("\U0001f469\u200d\U0001f4bb fixes", 8),
        ("دسترسی می‌خواهم", 14),
    ],
)
def test_what_can_be_seen_counts(text: str, seen: int) -> None:
    assert seen_in(text) == seen


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x7f", "\u202e", "\u2066", "\u200b", "\u00ad", "\ufeff", "\u2028", "\ue000", "\ud800", "\U000e0041"])  # fmt: skip
def test_what_may_change_how_others_read_it_is_named(bad: str) -> None:
    assert hidden_in(f"fine {bad} fine") == f"U+{ord(bad):04X}"


@pytest.mark.parametrize(
    "good", ["", "two\r\n\tlines", "Größe ≥ 5 %, naïve", "\U0001f469\u200d\U0001f4bb", "می‌خواهم", "日本語"]
)
def test_what_people_write_may_stand(good: str) -> None:
    assert hidden_in(good) == ""


@pytest.mark.parametrize("name", ["\u3164\u3164", "etl\u202eworker", "etl\u200bworker"])
def test_a_service_identity_has_a_name_that_can_be_seen(cast: Cast, name: str) -> None:
    """Fault: a name with an unseen character stands beside its double."""
    team = Team.objects.filter(memberships__subject=cast.ada)[0]
    with pytest.raises(NotAllowed, match=r"name"):
        service_identities.add(team, name, by=cast.ada)
    assert not team.services.exists()
