"""The table of MODEL §2, by hand, against the plan; and no plan leads to a move that the database refuses."""

from __future__ import annotations

import importlib
import re
from itertools import product

import pytest

from grants.provisioning.plan import INTENT, Step, step

TABLE = [
    # phase, wanted, found before, recheck due -> step
    ("absent", True, None, False, Step.LOOK),
    ("absent", True, False, False, Step.GIVE),  # taken a moment ago: what was found is not judged again
    ("absent", True, False, True, Step.GIVE),
    ("absent", False, None, False, Step.NOTHING),
    ("absent", False, False, False, Step.NOTHING),
    ("absent", False, False, True, Step.RECHECK),
    ("adding", True, False, False, Step.GIVE),
    ("adding", True, True, False, Step.GIVE),
    ("adding", False, False, False, Step.TAKE),
    ("adding", False, True, False, Step.KEEP),
    ("present", True, False, False, Step.CHECK),
    ("present", True, True, False, Step.CHECK),
    ("present", False, False, False, Step.TAKE),
    ("present", False, True, False, Step.KEEP),
    ("removing", True, False, False, Step.GIVE),
    ("removing", False, False, False, Step.TAKE),
    ("kept", True, True, False, Step.SEE),
    ("kept", False, True, False, Step.NOTHING),
]


@pytest.mark.parametrize(("phase", "wanted", "found", "recheck", "expected"), TABLE)
def test_each_line_of_the_table(phase: str, wanted: bool, found: bool | None, recheck: bool, expected: Step) -> None:
    assert step(phase, wanted=wanted, found_before=found, recheck=recheck) is expected


def test_a_role_held_before_is_never_taken() -> None:
    phases = ["absent", "adding", "present", "kept"]
    steps = {
        step(phase, wanted=wanted, found_before=True, recheck=recheck)
        for phase, wanted, recheck in product(phases, [True, False], [True, False])
        if (phase, recheck) != ("absent", True)  # found_before is cleared with the move to absent
    }
    assert Step.TAKE not in steps
    assert Step.RECHECK not in steps


def test_every_intent_is_a_move_that_the_database_knows() -> None:
    moves = importlib.import_module("grants.migrations.0006_binding_moves").MOVES
    legal = set(re.findall(r"\('(\w+)', '(\w+)'\)", moves))
    assert len(legal) == 10
    for phase, wanted, found, recheck, expected in TABLE:
        assert step(phase, wanted=wanted, found_before=found, recheck=recheck) is expected
        intent = INTENT.get(expected)
        assert intent in (None, phase) or (phase, intent) in legal, (phase, intent)
