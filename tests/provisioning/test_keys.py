"""Roles and clients that get other names while Stint is at them: nobody keeps one, and nobody loses their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import httpx
import pytest

from grants.adapters.errors import Unavailable
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.provisioning.leases import Lease, Result
from grants.provisioning.plan import Step
from grants.provisioning.steps import act
from tests.adapters.fake_keycloak import FakeKeycloak

ROLE = "prefect-prod:pool:etl:run"


@pytest.fixture
def server() -> FakeKeycloak:
    return FakeKeycloak()


@pytest.fixture
def idp(server: FakeKeycloak) -> Iterator[KeycloakAdapter]:
    one = KeycloakAdapter("http://fake", "test", client_id="p", secret="s", transport=server.transport())
    with closing(one):
        yield one


@pytest.fixture
def ada(server: FakeKeycloak) -> str:
    return server.user("ada")


def lease(ada: str, step: Step, *, role: str = ROLE, key: str = "", found_before: bool | None = False) -> Lease:
    return Lease(1, 1, ada, role, found_before, 1, None, step, uuid4(), 0.0, key)


def given(idp: KeycloakAdapter, ada: str, role: str = ROLE) -> Lease:
    """Looked for, intended, given."""
    looked, there = act(idp, lease(ada, Step.LOOK, role=role, found_before=None))
    assert there is False
    assert looked.role_key
    done, result = act(idp, looked._replace(found_before=False, next=Step.GIVE))
    assert (done.role_key, result) == (looked.role_key, Result.GIVEN)
    return done


def held(server: FakeKeycloak, ada: str) -> set[str]:
    names = {role["id"]: role["name"] for roles in server.roles.values() for role in roles.values()}
    return {names[pk] for ids in server.mapped[ada].values() for pk in ids if pk in names}


def test_nothing_is_given_whose_key_is_not_written_down(server: FakeKeycloak, idp: KeycloakAdapter, ada: str) -> None:
    looked, _ = act(idp, lease(ada, Step.LOOK, found_before=None))
    server.rename(ROLE, "another")
    anew, result = act(idp, looked._replace(found_before=False, next=Step.GIVE))
    assert result is Result.RETRY_WITH_NEW_KEY
    assert anew.role_key != looked.role_key
    assert held(server, ada) == set()
    assert act(idp, anew) == (anew, Result.GIVEN)
    assert held(server, ada) == {ROLE}


def test_what_is_still_held_is_not_forgotten_for_another(server: FakeKeycloak, idp: KeycloakAdapter, ada: str) -> None:
    """One wrong 404 for what was given, while its name is another one's."""
    has = given(idp, ada)
    server.rename(ROLE, "another")
    server.fault("GET", "roles-by-id", 404)
    with pytest.raises(Unavailable, match="still held"):
        act(idp, has._replace(next=Step.CHECK))
    assert held(server, ada) == {"another"}
    anew, result = act(idp, has._replace(next=Step.CHECK))
    assert result is Result.RETRY_WITH_NEW_KEY
    assert act(idp, anew)[1] is Result.GIVEN
    assert held(server, ada) == {ROLE}


@pytest.mark.parametrize("step", [Step.TAKE, Step.RECHECK])
def test_a_client_made_anew_whose_role_is_held_as_well(
    server: FakeKeycloak, idp: KeycloakAdapter, ada: str, step: Step
) -> None:
    """The old role keeps its name in a client that has another one; taking it takes nothing of the new one's."""
    server.role("Op", server.clients["airflow"])
    has = given(idp, ada, "client/airflow/Op")
    server.clients["moved"] = server.clients["airflow"]
    server.clients["airflow"] = "u-new"
    server.mapped[ada]["u-new"] = {server.role("Op", "u-new")["id"]}
    anew, result = act(idp, has._replace(next=step))
    assert result is Result.RETRY_WITH_NEW_KEY
    assert act(idp, anew)[1] is (Result.TAKEN if step is Step.TAKE else Result.LINGERED)
    assert held(server, ada) == set()


def test_what_somebody_has_under_another_name_is_theirs(
    server: FakeKeycloak, idp: KeycloakAdapter, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed between the two questions of a look: it was there, so it was never ours."""
    role = server.role("theirs", server.clients["stint"])
    server.mapped[ada][server.clients["stint"]] = {role["id"]}

    def renamed(request: httpx.Request) -> httpx.Response:
        answer = server._real(request)
        server.rename("theirs", ROLE)
        return answer

    server.fault("GET", "role-mappings$", renamed)
    with pytest.raises(Unavailable, match="looking again"):
        act(idp, lease(ada, Step.LOOK, found_before=None))
    assert act(idp, lease(ada, Step.LOOK, found_before=None))[1] is True


def test_a_mapped_roles_name_in_our_own_client_is_not_that_role(
    server: FakeKeycloak, idp: KeycloakAdapter, ada: str
) -> None:
    server.role("eng")
    server.mapped[ada][server.clients["stint"]] = {server.role("realm/eng", server.clients["stint"])["id"]}
    assert idp.roles_of(ada) == {}
    assert act(idp, lease(ada, Step.LOOK, role="realm/eng", found_before=None))[1] is False


def test_a_binding_from_before_there_were_keys_gets_one(server: FakeKeycloak, idp: KeycloakAdapter, ada: str) -> None:
    has = given(idp, ada)
    assert act(idp, has._replace(next=Step.CHECK, role_key="")) == (has._replace(next=Step.CHECK), Result.STANDS)


def test_the_keys_of_nobody(server: FakeKeycloak, idp: KeycloakAdapter, ada: str) -> None:
    """Somebody who is gone holds nothing: taken, and the end of it."""
    has = given(idp, ada)
    server.rename(ROLE, "another")
    del server.users[ada]
    assert act(idp, has._replace(next=Step.TAKE))[1] is Result.TAKEN
    assert act(idp, has._replace(next=Step.RECHECK)) == (has._replace(next=Step.RECHECK, role_key=""), Result.CLEAR)
