"""A role is given while a grant wants it, taken when none does, and never taken from who had it before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise

import httpx
import pytest
from django.db import OperationalError, connection

from accounts.idp import default
from grants import clock
from grants.adapters.errors import Refused, Unavailable
from grants.adapters.idp.keycloak import Keycloak
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.identity.directory import sync_directory
from grants.lifecycle import decide, hold
from grants.lifecycle.models import Grant, RoleBinding
from grants.provisioning import claims
from grants.provisioning.calls import Calls
from grants.provisioning.health import Providers
from grants.provisioning.plan import Step
from grants.provisioning.settle import settle
from tests.cast import Cast
from tests.provisioning.conftest import Settle, binding, granted
from tests.provisioning.fake import FakeIdP

type Move = Callable[[datetime | timedelta | None], datetime]

ROLE = "prefect-prod:deployment:etl/nightly:run"
ADA = "id-ada"
RECHECK = timedelta(seconds=11)


def verbs() -> list[str]:
    return list(AuditEvent.objects.filter(verb__startswith="binding.").order_by("seq").values_list("verb", flat=True))


@pytest.fixture(autouse=True)
def whole(commits: None) -> None:
    """These tests really commit: other threads and connections must see it."""


def test_given_with_the_approval_and_taken_at_the_end(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    grant = granted(cast)
    assert grant.role == f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"
    assert run() == 1
    assert idp.roles[ADA] == {grant.role}
    now = binding(grant)
    assert (now.phase, now.found_before, now.due_at, now.owed_since) == ("present", False, grant.ends_at, None)
    assert run() == 0

    at(grant.ends_at)
    assert run() == 1
    assert idp.roles[ADA] == set()
    assert binding(grant).phase == "absent"
    assert verbs() == ["binding.given", "binding.taken"]

    at(RECHECK)
    assert run() == 1
    now = binding(grant)
    assert (now.found_before, now.due_at, now.recheck_at) == (None, None, None)
    assert verify().whole


def test_revoked_is_taken_at_once(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    grant = granted(cast)
    run()
    hold.revoke(grant, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


def test_what_was_given_is_taken_by_its_key(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    """Names change: whoever takes it must know which one it was, however many workers later."""
    grant = granted(cast)
    key = f"key of {grant.role}"

    def dies(verb: str, *_: str) -> None:
        if verb == "grant":
            raise Unavailable("gone in the middle of it")

    idp.before = dies
    run()
    assert (binding(grant).phase, binding(grant).role_key) == ("adding", key), "written down before the call"
    idp.before = lambda *_: None
    at(timedelta(seconds=5))
    run()
    hold.revoke(grant, by=cast.priya)
    run()
    assert idp.keys == [key, key, key]
    assert binding(grant).role_key == key, "for the recheck"
    at(RECHECK)
    run()
    assert binding(grant).role_key == "", "what is held under it later is not ours"


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_two_grants_of_one_role_never_revoke_each_other(
    cast: Cast, idp: FakeIdP, run: Settle, *, first_ends_first: bool
) -> None:
    first, second = granted(cast), granted(cast, minutes=60)
    assert first.role == second.role
    run()
    one, other = (first, second) if first_ends_first else (second, first)
    hold.revoke(one, by=cast.priya)
    run()
    assert idp.roles[ADA] == {first.role}
    hold.give_back(other, by=cast.ada)
    run()
    assert idp.roles[ADA] == set()
    assert idp.done("revoke") == 1


def test_adjoining_grants_leave_no_gap(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    first = granted(cast)
    run()
    at(first.ends_at - timedelta(seconds=1))
    second = granted(cast)
    at(first.ends_at)
    while run():
        pass
    assert idp.done("revoke") == 0
    assert binding(first).due_at == second.ends_at


def test_a_role_held_before_stays(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    role = f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"
    idp.roles[ADA] = {role}
    grant = granted(cast)
    run()
    assert idp.done("grant") == 0
    hold.revoke(grant, by=cast.priya)
    run()
    assert (idp.roles[ADA], binding(grant).phase) == ({role}, "kept")
    assert verbs() == ["binding.found", "binding.kept"]
    # Wanted again, it is still theirs; taken from them meanwhile by somebody else, the next one is ours to take.
    again = granted(cast)
    run()
    assert binding(again).phase == "present"
    hold.revoke(again, by=cast.priya)
    run()
    idp.roles[ADA].clear()
    third = granted(cast)
    while run():
        pass
    assert (idp.roles[ADA], binding(third).found_before) == ({role}, False)
    hold.revoke(third, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


def test_what_was_found_before_is_not_judged_again(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    """Killed after the call: the next worker finds the role there, and knows that it is Stint's own."""
    grant = granted(cast)

    def die(verb: str, *_: str) -> None:
        if verb == "grant":
            raise SystemExit

    idp.after = die
    left = claims.intend_to_give([(claims.claim(10)[1][0], False)])
    with pytest.raises(SystemExit):
        idp.grant_role(ADA, grant.role or "")
    idp.after = lambda *_: None
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    run()
    assert binding(grant).found_before is False
    hold.revoke(grant, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()
    assert left


def test_nobody_else_gets_what_is_leased(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    granted(cast)
    assert claims.claim(10)[0] == 1
    assert run() == 0
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    assert run() == 1
    assert idp.done("grant") == 1


def test_revoked_while_it_is_being_given(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    grant = granted(cast)

    def revoke(verb: str, *_: str) -> None:
        if verb == "grant":
            hold.revoke(grant, by=cast.priya)

    idp.before = revoke
    run()
    idp.before = lambda *_: None
    assert run() == 1
    assert idp.roles[ADA] == set()
    assert verbs() == ["binding.taken"]


def all_is_over(grant: Grant, cast: Cast, run: Settle, at: Move) -> None:
    """Whoever was at it has lost it to others, who gave, took and looked again."""
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    run()
    hold.revoke(grant, by=cast.priya)
    run()
    at(RECHECK)
    run()
    assert binding(grant).due_at is None


def test_a_zombie_that_gives_late_is_undone(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    """Stopped between intent and call, it goes on after all is over, the recheck too."""
    grant = granted(cast)
    zombie = claims.intend_to_give([(claims.claim(10)[1][0], False)])[0]
    all_is_over(grant, cast, run, at)
    idp.grant_role(ADA, grant.role or "")
    assert claims.confirm([(zombie, claims.Result.GIVEN)]) == 0
    while run():
        pass
    assert idp.roles[ADA] == set()
    assert "binding.lingered" in verbs()


def test_what_a_zombie_did_is_told_when_the_database_is_back(
    cast: Cast, idp: FakeIdP, run: Settle, at: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends the session of who is stopped within a transaction: it goes on without a connection."""
    grant = granted(cast)
    unfinished: list[Calls] = []

    def turn() -> int:
        return settle(connect=lambda _idp: idp, providers=Providers(), unfinished=unfinished)

    def sleep(verb: str, *_: str) -> None:
        if verb != "grant":
            return
        idp.before = lambda *_: None
        all_is_over(grant, cast, run, at)
        monkeypatch.setattr(claims, "confirm", lost)

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


def test_a_zombie_that_takes_late_is_made_good(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    first = granted(cast)
    run()
    hold.revoke(first, by=cast.priya)
    zombie = claims.claim(10)[1][0]
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    run()
    second = granted(cast)
    run()
    assert idp.roles[ADA] == {second.role}
    idp.revoke_role(ADA, second.role or "")
    assert claims.confirm([(zombie, claims.Result.TAKEN)]) == 0
    run()
    assert idp.roles[ADA] == {second.role}


def test_a_late_call_that_dies_is_found_by_the_recheck(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    """A call in flight when its worker was killed may land after the role was read back as gone."""
    grant = granted(cast)
    run()
    hold.revoke(grant, by=cast.priya)
    run()
    idp.roles[ADA].add(grant.role or "")
    at(RECHECK)
    run()
    assert idp.roles[ADA] == set()
    assert verbs()[-1] == "binding.lingered"
    at(RECHECK)
    run()
    assert binding(grant).found_before is None


def test_wanted_again_before_the_recheck_is_still_ours_to_take(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    first = granted(cast)
    run()
    hold.revoke(first, by=cast.priya)
    run()
    idp.roles[ADA].add(first.role or "")  # the late call of a dead worker
    second = granted(cast)
    run()
    assert binding(second).found_before is False
    hold.revoke(second, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


@pytest.mark.parametrize("error", [Unavailable("It is down."), Refused("It says no."), RuntimeError("a bug")])
def test_a_failure_is_tried_again_for_ever(cast: Cast, idp: FakeIdP, run: Settle, at: Move, error: Exception) -> None:
    grant = granted(cast)
    run()
    hold.revoke(grant, by=cast.priya)

    def fail(verb: str, *_: str) -> None:
        raise error

    idp.before = fail
    pauses = []
    for _ in range(8):
        assert run() == 1
        now = binding(grant)
        assert now.phase == "removing"
        assert now.last_error
        assert now.due_at
        pauses.append(now.due_at)
        at(now.due_at)
    gaps = [round((b - a).total_seconds()) for a, b in pairwise(pauses)]
    assert gaps == [2, 4, 8, 15, 15, 15, 15]
    assert binding(grant).owed_since
    idp.before = lambda *_: None
    run()
    assert idp.roles[ADA] == set()
    assert (binding(grant).last_error, binding(grant).owed_since) == ("", None)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 429, 500, 503, 200])
def test_no_secret_reaches_the_database(cast: Cast, run: Settle, code: int, caplog: pytest.LogCaptureFixture) -> None:
    """A server that quotes what it was sent, in every answer that it can give."""
    secret = "canary-4711"

    def quotes(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token") and code not in (401, 404):
            return httpx.Response(200, json={"access_token": "canary-token", "expires_in": 300})
        said = f"{dict(request.headers)} {request.content.decode()} {secret}"
        return httpx.Response(code, json={"error": said, "errorMessage": said}, headers={"X-Said": secret})

    keycloak = Keycloak("http://fake", "t", client_id="p", secret=secret, transport=httpx.MockTransport(quotes))
    granted(cast)
    with closing(keycloak):
        settle(connect=lambda _idp: keycloak)
        sync_directory(default(), client=keycloak, mapped=["realm/x"])
    cast.idp.refresh_from_db()
    kept = f"{RoleBinding.objects.get().last_error}\n{cast.idp.error}"
    assert "Keycloak" in kept
    assert "canary" not in kept + caplog.text


def test_a_lying_yes_is_no_success(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    grant = granted(cast)
    idp.after = lambda verb, person, role: idp.roles[person].discard(role) if verb == "grant" else None
    run()
    assert binding(grant).phase == "adding"
    assert "does not show it" in binding(grant).last_error


def test_a_lying_taken_back_is_no_success(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    grant = granted(cast)
    run()
    hold.revoke(grant, by=cast.priya)
    idp.after = lambda verb, person, role: idp.roles[person].add(role) if verb == "revoke" else None
    run()
    assert binding(grant).phase == "removing"
    assert "still shows it" in binding(grant).last_error


def test_whoever_lost_the_lease_confirms_nothing(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    grant = granted(cast)
    run()
    granted(cast, minutes=60)
    slow = claims.claim(10)[1][0]
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    assert claims.claim(10)[0] == 1
    assert claims.confirm([(slow, claims.Result.STANDS)]) == 0
    assert binding(grant).lease


def test_somebody_deleted_at_the_provider_holds_nothing_up(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    grant = granted(cast)
    run()
    idp.gone.add(ADA)
    hold.revoke(grant, by=cast.priya)
    run()
    assert binding(grant).phase == "absent"
    assert verbs() == ["binding.given", "binding.taken"]


def test_many_at_once_are_settled_in_few_turns(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    RoleBinding.objects.bulk_create(
        [
            RoleBinding(idp=cast.idp, external_id=f"id-{n}", role=ROLE, due_at=cast.deployment.seen_at)
            for n in range(250)
        ]
    )
    assert [run(), run(), run(), run()] == [100, 100, 50, 0]  # nobody wants them: settled without a call
    assert idp.calls == []


def test_a_slow_call_holds_nobody_else_up(cast: Cast, idp: FakeIdP) -> None:
    """What becomes due while the provider keeps us waiting is given meanwhile, by the same worker."""
    granted(cast)
    given = threading.Event()

    def slow(verb: str, person: str, _role: str) -> None:
        if (verb, person) == ("grant", ADA):
            decide.approve(cast.asks(cast.ben), by=cast.chiara)
            connection.close()
            assert given.wait(10)
        elif verb == "grant":
            given.set()

    idp.before = slow
    assert settle(connect=lambda _idp: idp, more=lambda: True) == 2
    assert set(RoleBinding.objects.values_list("phase", "last_error")) == {("present", "")}


def test_calls_for_one_person_follow_each_other(cast: Cast, idp: FakeIdP) -> None:
    """However many claims they came by: here each is claimed alone, while the one before is called."""
    for level in ("view", "run", "operate"):
        granted(cast, level)
    at_once, most = 0, 0

    def enter(*_: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.03)

    def leave(*_: str) -> None:
        nonlocal at_once
        at_once -= 1

    idp.before, idp.after = enter, leave
    assert settle(1, connect=lambda _idp: idp, more=lambda: True) == 3
    assert (len(idp.roles[ADA]), most) == (3, 1)


def test_told_to_stop_it_finishes_what_it_has_in_hand(cast: Cast, idp: FakeIdP) -> None:
    for level in ("view", "run", "operate"):
        granted(cast, level)
    goes_on = iter([True])  # after the first look
    assert settle(1, connect=lambda _idp: idp, more=lambda: next(goes_on, False)) == 2
    assert sorted(RoleBinding.objects.values_list("phase", flat=True)) == ["absent", "present", "present"]
    assert not RoleBinding.objects.exclude(lease=None).exists()


def test_late_ones_are_given_back_untouched(
    cast: Cast, idp: FakeIdP, run: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(cast)
    monkeypatch.setattr("grants.provisioning.calls.BEGIN_WITHIN", -1.0)
    assert run() == 1
    assert idp.calls == []
    assert RoleBinding.objects.get().lease is None


def test_a_provider_without_roles_leaves_access_to_the_gate(cast: Cast) -> None:
    grant = granted(cast)
    assert (grant.idp_id, grant.role) == (None, None)
    assert RoleBinding.objects.count() == 0


def test_a_provider_that_is_not_connected_is_said(cast: Cast, idp: FakeIdP) -> None:
    grant = granted(cast)
    settle()
    assert binding(grant).last_error


def test_a_recheck_that_is_past_wakes_nobody(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    """Of a role that was there before Stint nothing is rechecked: due for that, it would be due for ever."""
    idp.roles[ADA] = {f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"}
    grant = granted(cast)
    run()
    hold.revoke(grant, by=cast.priya)
    run()
    past = clock.now() - timedelta(seconds=5)
    RoleBinding.objects.update(recheck_at=past, due_at=past)
    assert (run(), run()) == (1, 0)
    assert (binding(grant).phase, binding(grant).due_at) == ("kept", None)


def test_a_role_taken_from_who_had_it_is_given_only_for_the_grant(cast: Cast, idp: FakeIdP, run: Settle) -> None:
    """Had before Stint, taken away by an admin meanwhile: given again, it is Stint's own, and goes with the grant."""
    role = f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"
    idp.roles[ADA] = {role}
    first = granted(cast)
    run()
    idp.roles[ADA].clear()
    second = granted(cast, minutes=60)
    while run():
        pass
    assert idp.roles[ADA] == {role}
    hold.revoke(first, by=cast.priya)
    hold.revoke(second, by=cast.priya)
    while run():
        pass
    assert idp.roles[ADA] == set()


def test_a_late_taking_that_lands_after_it_is_given_again_is_made_good(
    cast: Cast, idp: FakeIdP, run: Settle, at: Move
) -> None:
    """A DELETE that timed out may be done after the next grant's POST."""
    at(timedelta(0))
    first = granted(cast)
    run()
    hold.revoke(first, by=cast.priya)

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
    at(timedelta(seconds=claims.LEASE_SECONDS) + RECHECK)
    while run():
        pass
    assert idp.roles[ADA] == {second.role}


def test_who_only_looked_late_claims_nothing(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    """Stopped while checking, it wakes when all is over and an admin has given the role by hand: that is theirs."""
    first = granted(cast)
    run()
    granted(cast, minutes=60)
    zombie = claims.claim(10)[1][0]
    assert zombie.next.name == "CHECK"
    at(timedelta(seconds=claims.LEASE_SECONDS + 1))
    for grant in first.beneficiary.grants.all():
        hold.revoke(grant, by=cast.priya)
    run()
    at(RECHECK)
    run()
    assert binding(first).found_before is None
    idp.roles[ADA].add(first.role or "")
    assert claims.confirm([(zombie, claims.Result.STANDS)]) == 0
    claims.fail([(zombie._replace(next=Step.LOOK), "down")])
    claims.fail([(zombie._replace(next=Step.TAKE), "down")])
    while run():
        pass
    assert idp.roles[ADA] == {first.role}


def test_a_late_giving_that_failed_may_still_land(cast: Cast, idp: FakeIdP, run: Settle, at: Move) -> None:
    grant = granted(cast)
    zombie = claims.intend_to_give([(claims.claim(10)[1][0], False)])[0]
    all_is_over(grant, cast, run, at)
    claims.fail([(zombie, "It did not answer in time.")])
    while run():
        pass
    idp.roles[ADA].add(grant.role or "")
    at(RECHECK)
    while run():
        pass
    assert idp.roles[ADA] == set()
