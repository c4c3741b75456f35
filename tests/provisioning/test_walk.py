"""Whatever crashes, sleeps, fails, lies or comes late: at rest each role is where it is wanted, and nowhere else.

A failure prints its seed: CHAOS_SEED=… walks the same way again, CHAOS_STEPS=… further.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import psycopg
import pytest

from grants.provisioning import leases, statements
from grants.provisioning.plan import Step, step
from tests.cast import Cast
from tests.conftest import connect
from tests.provisioning.walk import walking

pytestmark = pytest.mark.usefixtures("commits")
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
STEPS = int(os.environ.get("CHAOS_STEPS", "3000"))


@pytest.fixture
def superuser(commits: None) -> Iterator[psycopg.Connection]:
    with connect("superuser", autocommit=True) as connection:
        yield connection


def test_a_walk_ends_well(cast: Cast, superuser: psycopg.Connection) -> None:
    print(f"CHAOS_SEED={SEED}")
    with walking(cast, superuser, SEED) as walk:
        walk.play(STEPS)
    assert walk.steps >= STEPS
    assert walk.kills > 0
    assert walk.zombies > 0
    assert walk.idp.lists > 0


def _judged_again(phase: str, *, wanted: bool, found_before: bool | None, recheck: bool) -> Step:
    return step(phase, wanted=wanted, found_before=None if phase == "absent" else found_before, recheck=recheck)


def _confirm_without(text: str, instead: str = "") -> Callable[[pytest.MonkeyPatch], None]:
    """A fault of the statement that confirms."""
    assert text in statements.CONFIRM
    return lambda patch: patch.setattr(statements, "CONFIRM", statements.CONFIRM.replace(text, instead))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "found_before judged again": lambda patch: patch.setattr(leases, "step", _judged_again),
    "no recheck": _confirm_without(
        "WHEN v.result IN ('taken', 'lingered') THEN stint_now() + %(call)s::interval\n        WHEN v.result IN ('clear',",
        "WHEN v.result IN ('taken', 'lingered', 'clear',",
    ),
    "confirmed by whoever comes": _confirm_without(" AND b.lease = v.lease AND b.generation = v.generation"),
    "a zombie says nothing": lambda patch: patch.setattr(leases, "reopen_after_lost_lease", lambda *_, **__: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_walk_finds_a_seeded_fault(
    cast: Cast, superuser: psycopg.Connection, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[fault](monkeypatch)
    with pytest.raises(Exception, match="seed"), walking(cast, superuser, SEED) as walk:
        walk.play(60_000)  # a fault that needs three rare things at once is not always found in 20,000
