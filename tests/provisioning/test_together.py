"""Several roles of one person are given and taken in one call; each is read back, and has its own state and error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from grants.adapters.errors import AdapterError, Refused, Unavailable
from grants.adapters.idp.base import RoleProvider
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.lifecycle.models import RoleBinding
from grants.provisioning import calls, leases
from grants.provisioning.calls import BACKLOG
from grants.provisioning.health import Providers
from grants.provisioning.leases import Lease
from grants.provisioning.plan import Step
from grants.provisioning.reconcile import reconcile
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.provisioning import crowd
from tests.provisioning.fake import FakeIdP

type Move = Callable[[datetime | timedelta | None], datetime]
ROLES = [f"prefect-prod:pool:etl-{n}:run" for n in range(4)]
PEOPLE = 30

pytestmark = pytest.mark.usefixtures("commits")


def turn(idp: RoleProvider) -> int:
    return reconcile(BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=Providers())


def hold_all(cast: Cast, people: list[str]) -> None:
    """A grant of each role each: what is due of one person lies far apart."""
    for role in ROLES:
        crowd.hold(cast, people, role=role, lasts=timedelta(minutes=5))


def states() -> dict[str, tuple[str, str]]:
    return {row.role: (row.phase, row.last_error) for row in RoleBinding.objects.all()}


@pytest.fixture
def server() -> FakeKeycloak:
    return FakeKeycloak()


@pytest.fixture
def keycloak(server: FakeKeycloak) -> Iterator[KeycloakAdapter]:
    idp = KeycloakAdapter("http://fake", "test", client_id="p", secret="s", transport=server.transport())
    yield idp
    idp.close()


def mapping_calls(server: FakeKeycloak) -> list[tuple[str, int]]:
    """What was asked of what people hold, and of how many roles; forgotten with this."""
    asked = [(one.method, one.content.count(b'"id"')) for one in server.requests if "role-mappings" in one.url.path]
    server.requests.clear()
    return asked


class TestAtKeycloak:
    def test_one_call_and_one_reading_a_person(
        self, cast: Cast, server: FakeKeycloak, keycloak: KeycloakAdapter, at: Move
    ) -> None:
        """Fault: what is leased is not what belongs together; each has a call, or a reading, of its own."""
        people = crowd.join(cast, server, PEOPLE)
        hold_all(cast, people)
        turn(keycloak)
        assert crowd.phases() == {"present": PEOPLE * len(ROLES)}
        asked = mapping_calls(server)
        assert asked.count(("POST", len(ROLES))) == len([one for one in asked if one[0] == "POST"]) == PEOPLE
        assert len(asked) <= 3 * PEOPLE, "looked at once, given once, read back once"

        at(timedelta(minutes=6))
        turn(keycloak)
        assert not any(held[server.clients["stint"]] for held in server.mapped.values())
        asked = mapping_calls(server)
        assert asked == [one for one in asked if one in {("DELETE", len(ROLES)), ("GET", 0)}]
        assert len(asked) <= 2 * PEOPLE

        at(timedelta(seconds=11))
        turn(keycloak)
        assert not RoleBinding.objects.exclude(recheck_at=None).exists()
        assert len(mapping_calls(server)) <= PEOPLE

    def test_a_bad_one_holds_up_none_of_the_others(
        self, cast: Cast, server: FakeKeycloak, keycloak: KeycloakAdapter
    ) -> None:
        """It reaches into the realm's administration by now. Fault: all have the error of the one call."""
        hold_all(cast, crowd.join(cast, server, 1))
        stint = server.clients["stint"]
        management = server.role("manage-realm", server.clients["realm-management"])
        server.role(ROLES[2], stint, management)
        turn(keycloak)
        (held,) = server.mapped.values()
        assert held[stint] == {server.roles[stint][role]["id"] for role in ROLES if role != ROLES[2]}
        found = states()
        assert {found.pop(role) for role in ROLES if role != ROLES[2]} == {("present", "")}
        ((phase, error),) = found.values()
        assert phase == "absent"
        assert "manage-realm" in error

    def test_a_renamed_one_is_taken_under_its_new_name_and_the_others_too(
        self, cast: Cast, server: FakeKeycloak, keycloak: KeycloakAdapter, at: Move
    ) -> None:
        hold_all(cast, crowd.join(cast, server, 1))
        turn(keycloak)
        server.rename(ROLES[1], "another")
        server.role(ROLES[1], server.clients["stint"])
        at(timedelta(minutes=6))
        turn(keycloak)
        (held,) = server.mapped.values()
        assert held[server.clients["stint"]] == set()
        assert crowd.phases() == {"absent": len(ROLES)}

    @pytest.mark.parametrize("move", ["POST", "DELETE"])
    def test_an_answer_is_believed_of_none(
        self, cast: Cast, server: FakeKeycloak, keycloak: KeycloakAdapter, at: Move, move: str
    ) -> None:
        """It says yes and does nothing. Fault: what was called together is not read back."""
        hold_all(cast, crowd.join(cast, server, 1))
        if move == "DELETE":
            turn(keycloak)
            at(timedelta(minutes=6))
        server.fault(move, "role-mappings", lambda _request: httpx.Response(204), times=10**9)
        turn(keycloak)
        found = states()
        assert {phase for phase, _ in found.values()} == {"adding" if move == "POST" else "removing"}
        assert all("show" in error for _, error in found.values())

    def test_with_another_key_nothing_is_given(self, server: FakeKeycloak, keycloak: KeycloakAdapter) -> None:
        ada = server.user("ada")
        keys = {role: keycloak.prepare(role) for role in ROLES}
        with pytest.raises(AdapterError):
            keycloak.grant_roles(ada, {**keys, ROLES[3]: keys[ROLES[0]]})
        assert not server.mapped[ada][server.clients["stint"]]


def test_each_has_its_own_error(cast: Cast) -> None:
    """The provider gives some of them, and fails. Fault: what failed together is not tried by itself."""
    idp = FakeIdP()
    (ada,) = crowd.join(cast, FakeKeycloak(), 1)
    hold_all(cast, [ada])

    def refuses(verb: str, _person: str, role: str) -> None:
        if (verb, role) == ("grant", ROLES[1]):
            raise Refused("Not this one.")

    idp.before = refuses
    turn(idp)
    assert idp.together == [("grant", ada, tuple(ROLES))]
    assert idp.roles[ada] == set(ROLES) - {ROLES[1]}
    assert states() == {role: ("adding", "Not this one.") if role == ROLES[1] else ("present", "") for role in ROLES}


def test_what_may_have_been_sent_is_not_said_not_to_be_begun(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one call takes all the time there is. Fault: the others are released, as if nothing had been called."""
    released: list[object] = []
    let_go = leases.release
    monkeypatch.setattr(leases, "release", lambda those: (released.extend(those), let_go(those)))
    idp = FakeIdP()
    (ada,) = crowd.join(cast, FakeKeycloak(), 1)
    hold_all(cast, [ada])

    def too_slow(_external_id: str, _keys: Mapping[str, str]) -> None:
        monkeypatch.setattr(calls, "BEGIN_WITHIN", -1.0)
        raise Unavailable("too slow")

    monkeypatch.setattr(idp, "grant_roles", too_slow)
    reconcile(BACKLOG, connect=lambda _idp: idp, providers=Providers())
    assert not released
    assert states() == dict.fromkeys(ROLES, ("adding", "too slow"))


def test_what_was_theirs_is_in_no_call(cast: Cast, at: Move) -> None:
    """A role of before is neither given nor taken, alone or with others."""
    idp = FakeIdP()
    (ada,) = crowd.join(cast, FakeKeycloak(), 1)
    idp.roles[ada] = {ROLES[0]}
    hold_all(cast, [ada])
    turn(idp)
    at(timedelta(minutes=6))
    turn(idp)
    assert idp.together == [("grant", ada, tuple(ROLES[1:])), ("revoke", ada, tuple(ROLES[1:]))]
    assert idp.roles[ada] == {ROLES[0]}


class TestLease:
    def test_with_each_comes_what_is_due_of_that_person(self, cast: Cast) -> None:
        hold_all(cast, crowd.join(cast, FakeKeycloak(), 10))
        count, ours = leases.acquire(3)
        assert count == len(ours) == 3 * len(ROLES)
        assert len({lease.external_id for lease in ours}) == 3
        _, others = leases.acquire(100)
        assert len(others) == 7 * len(ROLES)
        assert not {lease.id for lease in ours} & {lease.id for lease in others}

    def test_a_trial_is_no_more_than_it_says(self, cast: Cast) -> None:
        """Of a provider that is away, few are tried. Fault: its people's others come along."""
        hold_all(cast, crowd.join(cast, FakeKeycloak(), 10))
        count, _ = leases.acquire(2, only=cast.idp.pk)
        assert count == 2

    def test_what_is_less_urgent_waits_for_its_turn(self, cast: Cast) -> None:
        hold_all(cast, crowd.join(cast, FakeKeycloak(), 1))
        RoleBinding.objects.filter(role=ROLES[2]).update(urgency=leases.Urgency.RECHECK)
        _, ours = leases.acquire(1)
        assert {lease.role for lease in ours} == set(ROLES) - {ROLES[2]}


class Slow(FakeIdP):
    """Its joint call takes longer than it may; each other call takes 0.6 s of a clock that is turned by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        self.now += 10.0
        raise Unavailable("Keycloak did not answer in time.")

    def prepare(self, role: str) -> str:
        self.now += 0.8
        return super().prepare(role)


def in_hand(idp: RoleProvider, step: Step, *, again: bool = False, now: float = 0.0) -> list[calls.Task]:
    key, before = ("key", False) if step is Step.GIVE else ("", None)
    health = Providers()[1]
    return [
        calls.Task(
            Lease(n, 1, "ada", f"role-{n}", before, 1, None, step, uuid4(), now, key, again=again), idp, health, False
        )
        for n in range(20)
    ]


class TestTime:
    def test_a_joint_call_that_fails_counts_once_and_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fault: twenty failures of the provider of one call, which shut it for everybody's revocations; or always
        together, so that none is ever called alone."""
        idp = Slow()
        monkeypatch.setattr(calls.time, "monotonic", lambda: idp.now)
        answers = [calls._begin(task) for task in calls._called_together(in_hand(idp, Step.GIVE))]
        failures = [answer[1] for answer in answers if not isinstance(answer, calls.Begun)]
        assert len(failures) == 20
        assert [one.of_provider for one in failures if isinstance(one, calls.Failure)] == [True] + [False] * 19
        again = calls._called_together(in_hand(idp, Step.GIVE, again=True, now=idp.now))
        assert not any(task.called or task.tried for task in again)

    def test_what_was_seen_long_before_is_looked_at_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Twenty roles are made while one reading grows old. Fault: an admin's gift in between passes for Stint's, or
        all come too late and nothing moves."""
        idp = Slow()
        monkeypatch.setattr(calls.time, "monotonic", lambda: idp.now)
        idp.roles["ada"] = set()
        begun = [calls._begin(task) for task in in_hand(idp, Step.LOOK)]
        answers = list(calls._read_once([one for one in begun if isinstance(one, calls.Begun)]))
        looked = [answer for _, answer in answers if not isinstance(answer, calls.NotBegun)]
        assert len(answers) == 20
        assert 1 <= len(looked) <= calls.BEGIN_WITHIN / 0.8 + 1
        assert idp.now <= calls.BEGIN_WITHIN + 0.8
