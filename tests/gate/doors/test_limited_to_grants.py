"""A caller that is limited to some grants: what it sees, and how long it is good for anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from grants.gate.decision.types import Allow, Grant
from grants.gate.doors.authorizer import Authorizer, Call, Passed, _good_until
from tests.gate.toy import TOY, VIEW, Key, Set
from tests.gate.worlds import HOUR, NOW, grant, person, snapshot

ONE = grant(1, Key("toy", "pool", "one"), VIEW, until=NOW + HOUR)
TWO = grant(2, Key("toy", "pool", "two"), VIEW, until=NOW + 2 * HOUR)
KNOWN = snapshot([ONE, TWO])


@pytest.mark.parametrize(
    ("grants", "until"),
    [((1,), ONE.drain_until), ((1, 2), TWO.drain_until), ((2, 9), TWO.drain_until), (None, NOW + 8 * HOUR)],
)
def test_it_is_good_until_the_last_of_them_is_over(grants: tuple[int, ...] | None, until: object) -> None:
    assert _good_until(KNOWN, person(grants=grants), "toy") == until


def test_it_is_good_for_nothing_when_none_of_them_is_known() -> None:
    assert _good_until(KNOWN, person(grants=(8, 9)), "toy") < NOW
    assert _good_until(KNOWN, person(grants=()), "toy") < NOW


def test_it_is_good_for_no_longer_by_what_is_anothers_or_on_another_connection() -> None:
    """Fault: any grant that it is limited to counts, wherever it is and whosever."""
    elsewhere = grant(3, Key("other", "pool", "one"), VIEW, until=NOW + 3 * HOUR)
    anothers = grant(4, Key("toy", "pool", "one"), VIEW, subject=2, until=NOW + 3 * HOUR)
    known = snapshot([ONE, elsewhere, anothers])
    assert _good_until(known, person(grants=(1, 3, 4)), "toy") == ONE.drain_until
    assert _good_until(known, person(grants=(3, 4)), "toy") < NOW


@pytest.mark.parametrize(("grants", "still"), [(None, False), ((1, 2), False), ((2,), True)])
def test_a_list_is_cut_when_one_of_several_grants_is_over(grants: tuple[int, ...] | None, *, still: bool) -> None:
    """What one grant shows ends with it; of several, the list of before would show what is over."""

    def passed(*shows: Grant) -> Passed:
        return Passed((), {}, Allow((), NOW, shows))

    served: Any = SimpleNamespace(kind=TOY)
    call = Call(served, None, None, person(grants=grants))  # type: ignore[arg-type] (nobody looks at them)
    authorizer = Authorizer(Set(), scheme="https")
    assert authorizer.still_sees(call, passed(TWO), passed(ONE, TWO)) is still
    assert authorizer.still_sees(call, passed(ONE, TWO), passed(TWO))
