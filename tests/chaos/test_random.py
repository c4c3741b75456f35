"""People ask, approve, give back and revoke while workers, PostgreSQL, Valkey and the provider are killed at random.

A failure prints its seed; CHAOS_SEED=… plays the same part again, CHAOS_SECONDS=… a longer one.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from grants.due import ProcessBeat
from grants.lifecycle.models import Grant
from tests.chaos import judge
from tests.chaos.stage import SEED, Stage, staged, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chaos")]
SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
LEVELS = ("run", "view")


@pytest.fixture
def stage(django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    with staged(django_db_blocker, people=14) as stage:
        yield stage


class Nemesis:
    """Kills one part after the other, each the same number of times, and brings it back a moment later."""

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self.stage, self.dice = stage, dice
        self.down: dict[str, float] = {}  # until when
        self.order: list[str] = []
        self.next = time.monotonic() + 1

    def turn(self) -> None:
        now = time.monotonic()
        for part in [part for part, until_ in self.down.items() if until_ <= now]:
            self.bring_back(part)
        if now < self.next or self.down:
            return
        if not self.order:
            self.order = ["worker", "postgres", "valkey", "idp", "worker"]
            self.dice.shuffle(self.order)
        part = self.order.pop()
        workers = self.stage.running()
        assert len(workers) == 2, "a worker ended, and nobody had killed it"
        self.stage.kill(self.dice.choice(workers) if part == "worker" else part)
        self.down[part] = now + self.dice.uniform(0.1, 1.5)
        self.next = now + self.dice.uniform(1.0, 2.5)

    def bring_back(self, part: str) -> None:
        del self.down[part]
        match part:
            case "worker":
                self.stage.keep_workers(2)
            case "postgres":
                self.stage.restart_postgres()
            case "valkey":
                self.stage.start_valkey()
            case "idp":
                self.stage.start_idp()

    def end(self) -> None:
        for part in list(self.down):
            self.bring_back(part)


def test_nothing_is_lost_and_nothing_stays(stage: Stage) -> None:
    print(f"CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    had = stage.people[:2]
    for name in had:
        stage.hold_before(name)
    before = {(stage.external[name], stage.role()) for name in had}
    stage.slow(0.03)
    stage.start_valkey()
    stage.start_idp()
    stage.keep_workers(2)
    until(lambda: ProcessBeat.objects.count() >= 2, "two workers are there")
    nemesis = Nemesis(stage, dice)
    stage.meanwhile = nemesis.turn
    done: Counter[str] = Counter()
    grants: list[Grant] = []
    leaver = stage.people[2]
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < SECONDS or not {"worker", "postgres", "valkey", "idp"} <= {
        *stage.killed
    }:
        nemesis.turn()
        act = dice.choices(["ask", "end", "wait"], [4, 3, 2])[0]
        if act == "ask":
            name = dice.choice([name for name in stage.people if name != leaver or passed < SECONDS / 3])
            grants.append(stage.gets(name, dice.choice([1, 2, 4, 8, 600]), dice.choice(LEVELS)))
        elif act == "end" and grants:
            stage.ends(grants.pop(dice.randrange(len(grants))), revoked=dice.random() < 0.5)
        else:
            time.sleep(dice.uniform(0.0, 0.1))
        done[act] += 1
        if passed > SECONDS / 2 and not done["deleted"] and "idp" not in nemesis.down:
            stage.delete(leaver)  # the next sync of the directory ends what this person holds
            done["deleted"] += 1
    nemesis.end()
    print(done, Counter(stage.killed))
    gone = stage.subjects[leaver]
    until(lambda: not Grant.objects.filter(beneficiary=gone, closed_at=None).exists(), "what the leaver held is closed")
    judge.rest(stage)
    judge.all_is_well(stage, before)
