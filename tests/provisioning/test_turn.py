"""A turn over many: side by side, each person in order, and an end when the worker is told to stop."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection

from grants.lifecycle import decide
from grants.lifecycle.models import RoleBinding
from grants.provisioning.reconcile import reconcile
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.provisioning import crowd
from tests.provisioning.conftest import ADA, Reconcile, granted
from tests.provisioning.fake import FakeIdP

pytestmark = pytest.mark.usefixtures("commits")  # other threads and connections must see it


def test_many_at_once_are_reconciled_in_few_turns(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    RoleBinding.objects.bulk_create(
        [
            RoleBinding(idp=cast.idp, external_id=f"id-{n}", role=crowd.ROLE, due_at=cast.deployment.seen_at)
            for n in range(250)
        ]
    )
    assert [run(), run(), run(), run()] == [100, 100, 50, 0]  # nobody wants them: confirmed without a call
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
    assert reconcile(connect=lambda _idp: idp, more=lambda: True) == 2
    assert set(RoleBinding.objects.values_list("phase", "last_error")) == {("present", "")}


def test_calls_for_one_person_follow_each_other(cast: Cast, idp: FakeIdP) -> None:
    """However many leases they came by: here each is leased alone, while the one before is called."""
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
    assert reconcile(1, connect=lambda _idp: idp, more=lambda: True) == 3
    assert (len(idp.roles[ADA]), most) == (3, 1)


def test_told_to_stop_it_finishes_what_it_has_in_hand(cast: Cast, idp: FakeIdP) -> None:
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 3))
    goes_on = iter([True])  # after the first look
    assert reconcile(1, connect=lambda _idp: idp, more=lambda: next(goes_on, False)) == 2
    assert sorted(RoleBinding.objects.values_list("phase", flat=True)) == ["absent", "present", "present"]
    assert not RoleBinding.objects.exclude(lease=None).exists()


def test_late_ones_are_given_back_untouched(
    cast: Cast, idp: FakeIdP, run: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(cast)
    monkeypatch.setattr("grants.provisioning.calls.BEGIN_WITHIN", -1.0)
    assert run() == 1
    assert idp.calls == []
    assert RoleBinding.objects.get().lease is None
