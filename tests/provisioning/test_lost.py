"""The database goes away within a turn, before a COMMIT or after it: the next turn makes good what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError

from grants.lifecycle import access
from grants.lifecycle.models import RoleBinding
from grants.provisioning import leases
from grants.provisioning.calls import Calls
from grants.provisioning.health import Providers
from grants.provisioning.reconcile import reconcile
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.provisioning import crowd
from tests.provisioning.conftest import ADA, Move, binding, granted, verbs
from tests.provisioning.fake import FakeIdP

pytestmark = pytest.mark.usefixtures("commits")

WHEN = pytest.mark.parametrize("when", ["before its COMMIT", "after its COMMIT"])


@pytest.fixture
def turn(idp: FakeIdP) -> Callable[..., int]:
    """Turns of one worker, which goes on in the next with what the last one could not write down."""
    return partial(reconcile, connect=lambda _idp: idp, providers=Providers(), unfinished=list[Calls]())


def lost(act: Callable[..., Any], when: str, *, nth: int = 0) -> Callable[..., Any]:
    """Loses the database the nth time that this is done."""
    times = count()

    def loses(*given: Any, **named: Any) -> Any:
        now = next(times) == nth
        done = None if now and when.startswith("before") else act(*given, **named)
        if now:
            raise OperationalError("server closed the connection unexpectedly")
        return done

    return loses


def go_on(turn: Callable[..., int]) -> None:
    """The turn that writes down what is left, and those after it that find what is due."""
    turn()
    while turn():
        pass


@WHEN
def test_between_the_intent_to_give_and_its_answer(
    cast: Cast, idp: FakeIdP, turn: Callable[..., int], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Given in the next turn, without waiting for the lease. Fault: what was looked at is forgotten, or begun twice."""
    grant = granted(cast)
    monkeypatch.setattr(leases, "intend_to_give", lost(leases.intend_to_give, when))
    with pytest.raises(OperationalError):
        turn()
    assert idp.done("grant") == 0, "nothing is given that is not known to be written down"
    assert binding(grant).phase == ("adding" if when.startswith("after") else "absent")
    go_on(turn)
    assert idp.roles[ADA] == {grant.role}
    assert idp.done("grant") == 1
    assert (binding(grant).phase, binding(grant).found_before, binding(grant).lease) == ("present", False, None)
    access.revoke(grant, by=cast.priya)
    turn()
    assert idp.roles[ADA] == set()
    assert verbs() == ["binding.given", "binding.taken"]


def test_what_was_seen_before_a_long_outage_is_not_believed_after_it(
    cast: Cast, idp: FakeIdP, turn: Callable[..., int], at: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin gave it meanwhile: it is theirs, and stays. Fault: the old look is written down as what was before."""
    grant = granted(cast)
    monkeypatch.setattr(leases, "intend_to_give", lost(leases.intend_to_give, "before its COMMIT"))
    with pytest.raises(OperationalError):
        turn()
    at(timedelta(minutes=5))
    idp.roles[ADA].add(grant.role or "")
    turn(0)  # others are taken up first, and this one is not leased again
    go_on(turn)
    access.revoke(grant, by=cast.priya)
    go_on(turn)
    assert idp.roles[ADA] == {grant.role}
    assert idp.done("revoke") == 0


@WHEN
def test_while_more_is_leased(
    cast: Cast, idp: FakeIdP, turn: Callable[..., int], at: Move, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What was called is written down by the next turn; what was leased comes back with the end of its lease."""
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 2))
    monkeypatch.setattr(leases, "acquire", lost(leases.acquire, when, nth=1))
    with pytest.raises(OperationalError):
        turn(1, more=lambda: True)
    go_on(turn)
    if when.startswith("after"):
        assert crowd.phases() == {"present": 1, "absent": 1}
        at(timedelta(seconds=leases.LEASE_SECONDS + 1))
        go_on(turn)
    assert crowd.phases() == {"present": 2}
    assert idp.done("grant") == 2, "each once"
    assert not RoleBinding.objects.exclude(lease=None).exists()
