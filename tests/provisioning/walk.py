"""Reconciling under an adversary who schedules it: a seeded walk over real workers, real SQL and a provider in memory.

Workers are threads that run the real `reconcile` and stop before and after each of its steps; one at a time goes on, by
one step, as the walk's dice say. The dice also kill workers, let them sleep through leases and rechecks, let the
provider fail, lie, answer late and act late, open and end grants, and move the clock.

What is promised, and no more (facts: reliability §3.5): a call lands within CALL_SECONDS of being sent, and whoever
slept past his lease and the recheck and acts then is not killed before he has said so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import psycopg
import pytest

from accounts.models import IdP
from grants import clock
from grants.lifecycle import bindings
from grants.lifecycle.models import Grant, RoleBinding
from grants.provisioning import calls, gather, health, leases, reconcile
from tests.cast import Cast
from tests.provisioning.adversary import CALL, Fate, Provider, Worker, me

TRIED_AGAIN = timedelta(seconds=1.2 * health.TRY_EVERY)  # however badly it went before
LEASE = timedelta(seconds=leases.LEASE_SECONDS)
ROLES = ("prefect-prod:pool:etl:run",)  # few of both, so that all happens to the same ones
# When the next one comes free that is not simply waiting for the end of its grants.
UNFINISHED = """
SELECT min(greatest(due_at, lease_until)) FROM grants_rolebinding
WHERE due_at <= stint_now() OR due_at <= recheck_at OR owed_since IS NOT NULL OR lease IS NOT NULL
"""
DUE = """
SELECT count(*) FROM grants_rolebinding
WHERE due_at <= stint_now() AND (lease_until IS NULL OR lease_until < stint_now())
"""
STEPS = ("acquire", "intend_to_give", "confirm", "fail", "release")


class Held(NamedTuple):
    pk: int
    person: str
    role: str
    starts_at: datetime
    ends_at: datetime


class Walk:
    """One walk: its dice, its clock, its workers, its grants; `story` says what happened, for whoever must fix it."""

    def __init__(self, cast: Cast, superuser: psycopg.Connection, seed: int) -> None:
        self.dice = random.Random(seed)
        self.story: list[str] = [f"seed {seed}"]
        self.superuser = superuser
        self.people = {f"id-{name}": getattr(cast, name) for name in ("ada", "ben")}
        self.cast = cast
        self.idp = Provider(lambda: self.now)
        self.begun = self.now = clock.now()
        self.tell_time()
        self.grants: list[Held] = []
        self.made = self.steps = self.kills = self.zombies = 0
        self.seen: set[str] = set()  # the steps at which somebody was killed
        self.workers = [Worker(f"w{n}", self.reconciling()) for n in range(4)]
        for worker in self.workers:
            worker.start()

    def reconciling(self) -> Callable[[], int]:
        """A worker's turn; how the provider is, each knows for itself."""
        providers = health.Providers()
        return lambda: reconcile.reconcile(limit=4, connect=lambda _idp: self.idp, providers=providers)

    def close(self) -> None:
        for worker in self.workers:
            while worker.where:
                worker.error = None
                worker.step(None)
            worker.closing = True
            worker.go.release()
            worker.join()

    # The dice.

    def play(self, steps: int) -> None:
        """Rounds of chaos, each with a rest at its end, when all must be as it should."""
        while self.steps < steps:
            self.begin_round()
            for _ in range(self.dice.randrange(20, 200)):
                self.steps += 1
                moves = dict(self.moves())
                self.dice.choices([*moves], [*moves.values()])[0]()
            self.rest()
            self.judge()

    def moves(self) -> Iterator[tuple[Callable[[], None], float]]:
        """What can happen next, and how likely: rather what brings trouble than what does nothing."""
        (due,) = self.superuser.execute(DUE).fetchone() or (0,)
        at_work = sum(bool(worker.where) for worker in self.workers)
        yield self.work, 8 * (at_work + (due > 0))
        yield self.kill, 0.5 * at_work
        yield self.sleep, 1
        yield self.time, 6
        yield self.open, 2 if self.live() else 6
        yield self.end, 4 if self.live() else 0
        yield self.land, 3 * len(self.idp.flying)
        yield self.lose_theirs, len(self.idp.theirs)
        yield self.delete, 0.1

    def begin_round(self) -> None:
        """Nobody is at work: some people hold a role from elsewhere."""
        self.trouble = self.dice.choice([0.1, 0.3, 0.6])  # the share of calls that don't go well
        self.idp.gone.clear()
        for person in self.people:
            for role in ROLES:
                if (person, role) in self.idp.theirs and self.dice.random() < 0.7:
                    self.take_theirs(person, role)
                elif role not in self.idp.roles[person] and self.dice.random() < 0.15:
                    self.tell(f"{person} has held before")
                    self.idp.roles[person].add(role)
                    self.idp.theirs.add((person, role))

    def work(self) -> None:
        busy = [worker for worker in self.workers if worker.where and not self.sleeps(worker)]
        idle = [worker for worker in self.workers if not worker.where][:1]
        if not busy + idle:
            return
        worker = self.dice.choice(busy + idle)
        if worker.where and self.is_zombie(worker):
            self.finish(worker)
            return
        fate = self.dice.choice([*Fate]) if worker.sent and self.dice.random() < self.trouble else Fate.OK
        before, sent = worker.where, worker.sent
        worker.step(fate)
        said = f"{before} {sent[1]} {fate.name}" if sent else before
        self.tell(f"{worker.name}: {said or 'begins'} -> {worker.where or 'idle'}")

    def sleep(self) -> None:
        """Somebody is stopped before a call that changes something, for longer than lease and recheck, may be."""
        for worker in self.workers:
            if worker.where in ("before grant", "before revoke") and not self.sleeps(worker):
                worker.asleep_until = self.now + timedelta(seconds=self.dice.choice([10, 30, 60]))
                self.tell(f"{worker.name} falls asleep {worker.where} {worker.sent}")
                return

    def sleeps(self, worker: Worker) -> bool:
        return worker.asleep_until is not None and self.now < worker.asleep_until

    def is_zombie(self, worker: Worker) -> bool:
        """So late that what it does now may be after the recheck of what it did not do."""
        return worker.leased_at is not None and self.now >= worker.leased_at + LEASE

    def finish(self, worker: Worker) -> None:
        """Somebody who slept too long acts, and says so, before anybody else comes to it."""
        self.zombies += 1
        self.tell(f"{worker.name} wakes up at {worker.where}, {self.now - (worker.leased_at or self.now)} late")
        while worker.where:
            worker.step(self.dice.choice([Fate.OK, Fate.OK, Fate.DOWN, Fate.LOST]))

    def kill(self) -> None:
        worker = self.dice.choice(self.workers)
        if not worker.where or (
            self.is_zombie(worker) and worker.where.startswith(("after ", "before fail", "before c"))
        ):
            return
        if worker.sent and not self.is_zombie(worker) and self.dice.random() < 0.5:
            self.idp.flying.append((self.now + CALL, worker.sent))  # it was under way
        self.kills += 1
        self.seen.add(worker.where)
        self.tell(f"{worker.name} is killed {worker.where} {worker.sent or ''}")
        worker.step(None)

    def land(self) -> None:
        if self.idp.flying:
            flight = self.dice.choice(self.idp.flying)
            self.tell(f"lands late: {flight[1]}")
            self.idp.land(flight)

    def time(self) -> None:
        ahead = [moment for g in self.grants for moment in (g.starts_at, g.ends_at) if moment > self.now]
        (due,) = self.superuser.execute("SELECT min(due_at) FROM grants_rolebinding").fetchone() or (None,)
        if due and due > self.now:
            ahead.append(due)
        nap = timedelta(seconds=self.dice.choice([0.1] * 8 + [1] * 4 + [4, 11, 16, 40]))
        near = [moment for moment in ahead if moment < self.now + timedelta(seconds=5)]
        if near and self.dice.random() < 0.5:
            self.move_to(min(near))
        else:
            self.move_to(self.now + nap)

    def move_to(self, moment: datetime) -> None:
        for flight in [flight for flight in self.idp.flying if flight[0] <= moment]:
            self.tell(f"lands at last: {flight[1]}")
            self.idp.land(flight)
        self.now = moment
        self.tell_time()
        self.tell(f"it is {(self.now - self.begun).total_seconds():.1f} s")

    def tell_time(self) -> None:
        self.superuser.execute("UPDATE stint_clock SET at = %s", [self.now])

    def open(self) -> None:
        person, role = self.dice.choice(list(self.people)), self.dice.choice(ROLES)
        if person in self.idp.gone or len(self.live()) > 4:
            return
        starts = self.now
        same = [g.ends_at for g in self.live() if (g.person, g.role) == (person, role)]
        if same and self.dice.random() < 0.5:
            starts = max(same)  # adjoining
        elif self.dice.random() < 0.15:
            starts += timedelta(seconds=self.dice.choice([2, 7, 20]))
        ends = starts + timedelta(seconds=self.dice.choice([1, 2, 5, 20, 90]))
        self.made += 1
        with self.superuser.transaction():
            (pk,) = self.superuser.execute(
                "INSERT INTO grants_grant (request_id, asked, beneficiary_id, resource_id, level, idp_id, role,"
                " starts_at, ends_at, drain_until, version) VALUES (%s, '1 day', %s, %s, 'run', %s, %s, %s, %s, %s, 0)"
                " RETURNING id",
                [self.made, self.people[person].pk, self.cast.pool.pk, self.cast.idp.pk, role, starts, ends, ends],
            ).fetchone() or (0,)
        self.grants.append(Held(pk, person, role, starts, ends))
        self.tell(f"grant {pk}: {person} from {starts - self.begun} to {ends - self.begun}")
        bindings.want([Grant.objects.get(pk=pk)])

    def live(self) -> list[Held]:
        return [g for g in self.grants if g.starts_at <= self.now < g.ends_at]

    def end(self) -> None:
        open_ = [g for g in self.grants if g.ends_at > self.now]
        if open_:
            self.end_one(self.dice.choice(open_))

    def end_one(self, grant: Held) -> None:
        self.tell(f"grant {grant.pk} is revoked")
        self.superuser.execute(
            "UPDATE grants_grant SET ended_at = least(%s, ends_at), closed_at = %s, end_reason = 'revoked' WHERE id = %s",
            [self.now, self.now, grant.pk],
        )
        self.grants.remove(grant)
        bindings.due_now([Grant.objects.get(pk=grant.pk)])

    def lose_theirs(self) -> None:
        """An admin takes away by hand what somebody held; Stint looks when it next has to."""
        if self.idp.theirs:
            self.take_theirs(*self.dice.choice(sorted(self.idp.theirs)))

    def take_theirs(self, person: str, role: str) -> None:
        self.tell(f"an admin takes from {person}")
        self.idp.theirs.discard((person, role))
        self.idp.roles[person].discard(role)
        same = [g.pk for g in self.live() if (g.person, g.role) == (person, role)]
        bindings.due_now(list(Grant.objects.filter(pk__in=same)))

    def delete(self) -> None:
        """Somebody is deleted at the provider; the sync ends what they hold."""
        person = self.dice.choice(list(self.people))
        if person not in self.idp.gone:
            self.tell(f"{person} is deleted at the provider")
            self.idp.gone.add(person)
            self.idp.roles[person].clear()
            self.idp.theirs = {(who, role) for who, role in self.idp.theirs if who != person}
            for grant in [g for g in self.grants if g.person == person and g.ends_at > self.now]:
                self.end_one(grant)

    # The rest, and what must be so then.

    def rest(self) -> None:
        """Everybody comes to an end, all is landed, and time goes on until nothing is due; then the sleepers wake up."""
        for worker in self.workers:
            while worker.where and not self.sleeps(worker) and not self.is_zombie(worker):
                worker.step()
        self.come_to_rest()
        for worker in self.workers:
            if worker.where:
                self.finish(worker)
        self.come_to_rest()

    def come_to_rest(self) -> None:
        for flight in list(self.idp.flying):
            self.idp.land(flight)
        for _ in range(60):
            waits = timedelta(milliseconds=1)
            for worker in self.workers:
                if not worker.where:
                    worker.step()
                    waits = TRIED_AGAIN if not worker.where else waits
                    while worker.where:
                        worker.step()
                    break
            (due,) = self.superuser.execute(UNFINISHED).fetchone() or (None,)
            if due is None:
                return
            self.move_to(max(due, self.now) + waits)
        raise AssertionError("it never comes to rest")

    def judge(self) -> None:
        rows = {(row.external_id, row.role): row for row in RoleBinding.objects.all()}
        live = {(g.person, g.role) for g in self.live()}
        for person in self.people:
            for role in ROLES:
                key, held = (person, role), role in self.idp.roles[person]
                wanted, theirs, row = key in live, key in self.idp.theirs, rows.get(key)
                assert held == (wanted or theirs), (
                    key,
                    "held" if held else "missing",
                    wanted,
                    theirs,
                    vars(row or self),
                )
                if row:
                    at_rest = (row.lease, row.owed_since, row.last_error, row.attempts)
                    assert at_rest == (None, None, "", 0), (key, at_rest)
                    assert (row.phase == "present") == wanted, (key, row.phase, wanted)
                    assert wanted or (row.phase == "kept") == bool(row.found_before), (key, row.phase)

    def monotonic(self) -> float:
        return (self.now - self.begun).total_seconds()

    def tell(self, what: str) -> None:
        self.story.append(what)


@contextmanager
def walking(cast: Cast, superuser: psycopg.Connection, seed: int) -> Iterator[Walk]:
    """A walk over this cast; when it fails, the end of its story is told."""
    IdP.objects.filter(pk=cast.idp.pk).update(kind="demo")
    superuser.execute("SET session_replication_role = replica")
    walk = Walk(cast, superuser, seed)
    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(leases, name, _stopping(name, getattr(leases, name), walk))
        patch.setattr(calls, "_callers", SimpleNamespace(submit=lambda do, *args: do(*args)))
        for module in (calls, leases, health, gather):
            patch.setattr(module, "time", SimpleNamespace(monotonic=walk.monotonic))
        patch.setattr(reconcile, "log", SimpleNamespace(debug=_quiet, error=_quiet))
        patch.setattr(calls, "log", SimpleNamespace(exception=_reraise, error=_reraise))
        patch.setattr(gather, "LIST_FROM", 2)  # there are no more people
        try:
            yield walk
        except Exception as error:
            told = "\n".join(walk.story[-60:])
            raise AssertionError(
                f"{error}\n\n{walk.story[0]}, step {walk.steps}; the end of the story:\n{told}"
            ) from error
        finally:
            walk.close()


def _stopping(name: str, real: Callable[..., Any], walk: Walk) -> Callable[..., Any]:
    """This function of leases, with a stop before and after it (a transaction is whole or not at all)."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        worker = me()
        if worker is None:
            return real(*args, **kwargs)
        if args and not isinstance(args[0], int):
            args = (list(args[0]), *args[1:])
            if not args[0]:
                return real(*args, **kwargs)
        if name != "acquire":  # before it, a worker is merely idle
            worker.pause(f"before {name}")
        done = real(*args, **kwargs)
        if name == "acquire":
            if not done[0]:
                return done
            worker.leased_at = walk.now
        worker.pause(f"after {name}")
        return done

    return wrapped


def _quiet(*_: Any, **__: Any) -> None:
    """What goes wrong here is meant to."""


def _reraise(*_: Any, **__: Any) -> None:
    raise  # noqa: PLE0704 (within reconcile's own handler: no bug of ours passes for a failure of the provider)
