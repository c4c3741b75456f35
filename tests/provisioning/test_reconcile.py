"""A role is given while a grant wants it, taken when none does, and never taken from who had it before."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import httpx
import pytest

from accounts.idp import default
from grants import clock
from grants.adapters.errors import Refused, Unavailable
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.audit.verify import verify
from grants.identity.directory import sync_directory
from grants.lifecycle import access
from grants.lifecycle.models import RoleBinding
from grants.provisioning.reconcile import reconcile
from tests.cast import Cast
from tests.provisioning.conftest import ADA, RECHECK, Move, Reconcile, binding, granted, verbs
from tests.provisioning.fake import FakeIdP

pytestmark = pytest.mark.usefixtures("commits")  # other threads and connections must see it


def test_given_with_the_approval_and_taken_at_the_end(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
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


def test_revoked_is_taken_at_once(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


def test_what_was_given_is_taken_by_its_key(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
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
    access.revoke(grant, by=cast.priya)
    run()
    assert idp.keys == [key, key, key]
    assert binding(grant).role_key == key, "for the recheck"
    at(RECHECK)
    run()
    assert binding(grant).role_key == "", "what is held under it later is not ours"


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_two_grants_of_one_role_never_revoke_each_other(
    cast: Cast, idp: FakeIdP, run: Reconcile, *, first_ends_first: bool
) -> None:
    first, second = granted(cast), granted(cast, minutes=60)
    assert first.role == second.role
    run()
    one, other = (first, second) if first_ends_first else (second, first)
    access.revoke(one, by=cast.priya)
    run()
    assert idp.roles[ADA] == {first.role}
    access.give_back(other, by=cast.ada)
    run()
    assert idp.roles[ADA] == set()
    assert idp.done("revoke") == 1


def test_adjoining_grants_leave_no_gap(cast: Cast, idp: FakeIdP, run: Reconcile, at: Move) -> None:
    first = granted(cast)
    run()
    at(first.ends_at - timedelta(seconds=1))
    second = granted(cast)
    at(first.ends_at)
    while run():
        pass
    assert idp.done("revoke") == 0
    assert binding(first).due_at == second.ends_at


def test_a_role_held_before_stays(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    role = f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"
    idp.roles[ADA] = {role}
    grant = granted(cast)
    run()
    assert idp.done("grant") == 0
    access.revoke(grant, by=cast.priya)
    run()
    assert (idp.roles[ADA], binding(grant).phase) == ({role}, "kept")
    assert verbs() == ["binding.found", "binding.kept"]
    # Wanted again, it is still theirs; taken from them meanwhile by somebody else, the next one is ours to take.
    again = granted(cast)
    run()
    assert binding(again).phase == "present"
    access.revoke(again, by=cast.priya)
    run()
    idp.roles[ADA].clear()
    third = granted(cast)
    while run():
        pass
    assert (idp.roles[ADA], binding(third).found_before) == ({role}, False)
    access.revoke(third, by=cast.priya)
    run()
    assert idp.roles[ADA] == set()


@pytest.mark.parametrize("error", [Unavailable("It is down."), Refused("It says no."), RuntimeError("a bug")])
def test_a_failure_is_tried_again_for_ever(
    cast: Cast, idp: FakeIdP, run: Reconcile, at: Move, error: Exception
) -> None:
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)

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
def test_no_secret_reaches_the_database(
    cast: Cast, run: Reconcile, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that quotes what it was sent, in every answer that it can give."""
    secret = "canary-4711"

    def quotes(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token") and code not in (401, 404):
            return httpx.Response(200, json={"access_token": "canary-token", "expires_in": 300})
        said = f"{dict(request.headers)} {request.content.decode()} {secret}"
        return httpx.Response(code, json={"error": said, "errorMessage": said}, headers={"X-Said": secret})

    keycloak = KeycloakAdapter("http://fake", "t", client_id="p", secret=secret, transport=httpx.MockTransport(quotes))
    granted(cast)
    with closing(keycloak):
        reconcile(connect=lambda _idp: keycloak)
        sync_directory(default(), client=keycloak, mapped=["realm/x"])
    cast.idp.refresh_from_db()
    kept = f"{RoleBinding.objects.get().last_error}\n{cast.idp.error}"
    assert "Keycloak" in kept
    assert "canary" not in kept + caplog.text


def test_a_lying_yes_is_no_success(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    grant = granted(cast)
    idp.after = lambda verb, person, role: idp.roles[person].discard(role) if verb == "grant" else None
    run()
    assert binding(grant).phase == "adding"
    assert "does not show it" in binding(grant).last_error


def test_a_lying_taken_back_is_no_success(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)
    idp.after = lambda verb, person, role: idp.roles[person].add(role) if verb == "revoke" else None
    run()
    assert binding(grant).phase == "removing"
    assert "still shows it" in binding(grant).last_error


def test_somebody_deleted_at_the_provider_holds_nothing_up(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    grant = granted(cast)
    run()
    idp.gone.add(ADA)
    access.revoke(grant, by=cast.priya)
    run()
    assert binding(grant).phase == "absent"
    assert verbs() == ["binding.given", "binding.taken"]


def test_a_provider_without_roles_leaves_access_to_the_gate(cast: Cast) -> None:
    grant = granted(cast)
    assert (grant.idp_id, grant.role) == (None, None)
    assert RoleBinding.objects.count() == 0


def test_a_provider_that_is_not_connected_is_said(cast: Cast, idp: FakeIdP) -> None:
    grant = granted(cast)
    reconcile()
    assert binding(grant).last_error


def test_a_recheck_that_is_past_wakes_nobody(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
    """Of a role that was there before Stint nothing is rechecked: due for that, it would be due for ever."""
    idp.roles[ADA] = {f"{cast.connection.slug}:deployment:{cast.deployment.name}:run"}
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)
    run()
    past = clock.now() - timedelta(seconds=5)
    RoleBinding.objects.update(recheck_at=past, due_at=past)
    assert (run(), run()) == (1, 0)
    assert (binding(grant).phase, binding(grant).due_at) == ("kept", None)


def test_a_role_taken_from_who_had_it_is_given_only_for_the_grant(cast: Cast, idp: FakeIdP, run: Reconcile) -> None:
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
    access.revoke(first, by=cast.priya)
    access.revoke(second, by=cast.priya)
    while run():
        pass
    assert idp.roles[ADA] == set()
