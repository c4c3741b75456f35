"""Who died on the way, slept, or lost the lease: what they did late is made good, and they confirm nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError

from grants.adapters.errors import Unavailable
from grants.lifecycle import access
from grants.lifecycle.models import Grant
from grants.provisioning import leases
from grants.provisioning.calls import Calls
from grants.provisioning.health import Providers
from grants.provisioning.plan import Step
from grants.provisioning.reconcile import reconcile
from tests.cast import Cast
from tests.provisioning.conftest import ADA, RECHECK, Move, Reconcile, binding, granted, verbs
from tests.provisioning.fake import FakeIdP

pytestmark = pytest.mark.usefixtures("commits")  # other threads and connections must see it


def test_what_was_found_before_is_not_judged_again(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    """Killed after the call: the next worker finds the role there, and knows that it is Stint's own."""
    grant = granted(cast)

    def die(verb: str, *_: str) -> None:
        if verb == "grant":
            raise SystemExit

    idp.after = die
    left = leases.intend_to_give([(leases.acquire(10)[1][0], False)])
    with pytest.raises(SystemExit):
        idp.grant_role(ADA, grant.role or "")
    idp.after = lambda *_: None
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    run()
    assert binding(grant).found_before is False
    access.revoke(grant, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()
    assert left


def test_nobody_else_gets_what_is_leased(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    granted(cast)
    assert leases.acquire(10)[0] == 1
    assert run() == 0
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    assert run() == 1
    assert idp.done("grant") == 1


def test_revoked_while_it_is_being_given(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    grant = granted(cast)

    def revoke(verb: str, *_: str) -> None:
        if verb == "grant":
            access.revoke(grant, by=cast.priya)

    idp.before = revoke
    run()
    idp.before = lambda *_: None
    assert run() == 1
    assert idp.roles[ADA] == set()
    assert verbs() == ["binding.taken"]


def all_is_over(grant: Grant, cast: Cast, run: Reconcile, at: Move) -> None:
    """Whoever was at it has lost it to others, who gave, took and looked again."""
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    run()
    access.revoke(grant, by=cast.priya)
    run()
    at(RECHECK)
    run()
    assert binding(grant).due_at is None


def test_a_zombie_that_gives_late_is_undone(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    """Stopped between intent and call, it goes on after all is over, the recheck too."""
    grant = granted(cast)
    zombie = leases.intend_to_give([(leases.acquire(10)[1][0], False)])[0]
    all_is_over(grant, cast, run, at)
    idp.grant_role(ADA, grant.role or "")
    assert leases.confirm([(zombie, leases.Result.GIVEN)]) == 0
    while run():
        pass
    assert idp.roles[ADA] == set()
    assert "binding.lingered" in verbs()


def test_what_a_zombie_did_is_told_when_the_database_is_back(
    cast: Cast, idp: FakeIdP, run: Reconcile, at: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends the session of who is stopped within a transaction: it goes on without a connection."""
    grant = granted(cast)
    unfinished: list[Calls] = []

    def turn() -> int:
        return reconcile(connect=lambda _idp: idp, providers=Providers(), unfinished=unfinished)

    def sleep(verb: str, *_: str) -> None:
        if verb != "grant":
            return
        idp.before = lambda *_: None
        all_is_over(grant, cast, run, at)
        monkeypatch.setattr(leases, "confirm", lost)

    def lost(_done: object) -> int:
        monkeypatch.undo()
        raise OperationalError("server closed the connection unexpectedly")

    idp.before = sleep
    with pytest.raises(OperationalError):
        turn()
    assert idp.roles[ADA] == {grant.role}
    turn()
    assert turn() == 1
    assert idp.roles[ADA] == set()
    assert "binding.lingered" in verbs()
    assert unfinished == []


def test_a_zombie_that_takes_late_is_made_good(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    first = granted(cast)
    run()
    access.revoke(first, by=cast.priya)
    zombie = leases.acquire(10)[1][0]
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    run()
    second = granted(cast)
    run()
    assert idp.roles[ADA] == {second.role}
    idp.revoke_role(ADA, second.role or "")
    assert leases.confirm([(zombie, leases.Result.TAKEN)]) == 0
    run()
    assert idp.roles[ADA] == {second.role}


def test_a_late_call_that_dies_is_found_by_the_recheck(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    """A call in flight when its worker was killed may land after the role was read back as gone."""
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)
    run()
    idp.roles[ADA].add(grant.role or "")
    at(RECHECK)
    run()
    assert idp.roles[ADA] == set()
    assert verbs()[-1] == "binding.lingered"
    at(RECHECK)
    run()
    assert binding(grant).found_before is None


def test_wanted_again_before_the_recheck_is_still_ours_to_take(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    first = granted(cast)
    run()
    access.revoke(first, by=cast.priya)
    run()
    idp.roles[ADA].add(first.role or "")  # the late call of a dead worker
    second = granted(cast)
    run()
    assert binding(second).found_before is False
    access.revoke(second, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


def test_whoever_lost_the_lease_confirms_nothing(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    grant = granted(cast)
    run()
    granted(cast, minutes=60)
    slow = leases.acquire(10)[1][0]
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    assert leases.acquire(10)[0] == 1
    assert leases.confirm([(slow, leases.Result.STANDS)]) == 0
    assert binding(grant).lease


def test_a_late_taking_that_lands_after_it_is_given_again_is_made_good(
    cast: Cast, idp: FakeIdP, run: Reconcile, at: Move
) -> None:
    """A DELETE that timed out may be done after the next grant's POST."""
    at(timedelta(0))
    first = granted(cast)
    run()
    access.revoke(first, by=cast.priya)

    def slow(verb: str, *_: str) -> None:
        if verb == "revoke":
            raise Unavailable("It did not answer in time.")

    idp.before = slow
    run()
    idp.before = lambda *_: None
    second = granted(cast)
    run()
    assert idp.roles[ADA] == {second.role}
    idp.roles[ADA].clear()  # it lands now
    at(timedelta(seconds=leases.LEASE_SECONDS) + RECHECK)
    while run():
        pass
    assert idp.roles[ADA] == {second.role}


def test_a_worker_that_only_looked_late_changes_nothing(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    """Stopped while checking, it wakes when all is over and an admin has given the role by hand: that is theirs."""
    first = granted(cast)
    run()
    granted(cast, minutes=60)
    zombie = leases.acquire(10)[1][0]
    assert zombie.next.name == "CHECK"
    at(timedelta(seconds=leases.LEASE_SECONDS + 1))
    for grant in first.beneficiary.grants.all():
        access.revoke(grant, by=cast.priya)
    run()
    at(RECHECK)
    run()
    assert binding(first).found_before is None
    idp.roles[ADA].add(first.role or "")
    assert leases.confirm([(zombie, leases.Result.STANDS)]) == 0
    leases.fail([(zombie._replace(next=Step.LOOK), "down")])
    leases.fail([(zombie._replace(next=Step.TAKE), "down")])
    while run():
        pass
    assert idp.roles[ADA] == {first.role}


def test_a_late_giving_that_failed_may_still_land(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    grant = granted(cast)
    zombie = leases.intend_to_give([(leases.acquire(10)[1][0], False)])[0]
    all_is_over(grant, cast, run, at)
    leases.fail([(zombie, "It did not answer in time.")])
    while run():
        pass
    idp.roles[ADA].add(grant.role or "")
    at(RECHECK)
    while run():
        pass
    assert idp.roles[ADA] == set()
