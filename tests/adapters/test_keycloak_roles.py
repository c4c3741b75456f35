"""Which roles of a Keycloak are given and taken, by which name and key, and what is never asked of it."""

from __future__ import annotations

import json
from contextlib import closing

import httpx
import pytest

from grants.adapters.errors import AdapterError, Refused
from grants.adapters.idp.keycloak import KeycloakAdapter
from tests.adapters.conftest import MAPPINGS, ROLE, SECRET, held, keycloak
from tests.adapters.fake_keycloak import FakeKeycloak


def test_no_delete_goes_without_the_one_role_it_means(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """Without a body Keycloak takes every role of the user, the default ones included."""
    ada = server.user("ada")
    idp.grant_role(ada, ROLE)
    idp.grant_role(ada, "prefect-prod:pool:other:run")
    for role in (ROLE, "never:made", "realm/never-made"):
        idp.revoke_role(ada, role)
    deletes = [request for request in server.requests if request.method == "DELETE"]
    assert deletes
    for request in deletes:
        (only,) = json.loads(request.content)
        assert only["id"]
        assert only["name"] == ROLE
    assert held(server, ada) == {"prefect-prod:pool:other:run"}


@pytest.mark.parametrize("body", [{}, {"json": None}, {"json": []}])
def test_a_delete_without_a_body_is_impossible(
    server: FakeKeycloak, idp: KeycloakAdapter, body: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="every role"):
        idp._realm.call("DELETE", f"users/{server.user('ada')}/role-mappings/realm", **body)
    assert not server.requests


@pytest.mark.parametrize("code", [400, 409, 500])
def test_a_race_that_did_it_is_success(server: FakeKeycloak, idp: KeycloakAdapter, code: int) -> None:
    ada = server.user("ada")

    def did_it(request: httpx.Request) -> httpx.Response:
        server._real(request)
        return httpx.Response(code, json={"errorMessage": "Could not add user role mappings!"})

    server.fault("POST", MAPPINGS, did_it)
    idp.grant_role(ada, ROLE)
    server.fault("DELETE", MAPPINGS, did_it)
    idp.revoke_role(ada, ROLE)
    assert held(server, ada) == set()


@pytest.mark.parametrize("code", [400, 409, 500])
def test_a_renamed_role_that_was_not_taken_is_not_said_to_be_gone(server: FakeKeycloak, code: int) -> None:
    """Its old name is held by nobody, which says nothing of what was given."""
    ada = server.user("ada")
    with closing(keycloak(server)) as giver:
        giver.grant_role(ada, ROLE, key := giver.prepare(ROLE))
    server.rename(ROLE, "another")
    with closing(keycloak(server)) as taker:
        server.fault("DELETE", MAPPINGS, code)
        with pytest.raises(AdapterError):
            taker.revoke_role(ada, ROLE, key)
        assert held(server, ada) == {"another"}
        taker.revoke_role(ada, ROLE, key)
        assert held(server, ada) == set()


def test_a_role_made_by_somebody_else_a_moment_before(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    ada = server.user("ada")

    def faster(_request: httpx.Request) -> httpx.Response:
        server.role(ROLE, server.clients["stint"])
        return httpx.Response(409, json={"errorMessage": "Role exists"})

    server.fault("POST", "/roles$", faster)
    idp.grant_role(ada, ROLE)
    assert held(server, ada) == {ROLE}


def test_hidden_parts_of_a_composite_are_refused(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    ada = server.user("ada")
    server.role("hull", "", server.role("realm-admin", server.clients["realm-management"]))
    empty = server.role("empty")
    empty["composite"] = True
    with pytest.raises(Refused, match="contains realm-admin"):
        idp.grant_role(ada, "realm/hull")
    with pytest.raises(Refused, match="can't see"):
        idp.grant_role(ada, "realm/empty")
    server.hides_clients = True
    server.role("half", "", server.role("harmless"))
    blind = keycloak(server)
    with closing(blind), pytest.raises(Refused, match="can't see"):
        blind.grant_role(ada, "realm/half")
    assert server.mapped[ada][""] == set()


@pytest.mark.parametrize(
    "role", ["client/realm-management/manage-users", "client/acme-realm/x", "realm/admin", "realm/default-roles-test"]
)
def test_roles_of_the_administration_are_refused_by_name(server: FakeKeycloak, idp: KeycloakAdapter, role: str) -> None:
    ada = server.user("ada")
    server.clients["acme-realm"] = "u-acme"
    kind, _, name = role.partition("/")
    client, _, rest = name.partition("/")
    server.role(rest or name, server.clients[client] if kind == "client" else "")
    with pytest.raises(Refused):
        idp.grant_role(ada, role)


def test_a_client_with_a_slash_lends_its_roles_no_other_name(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """The role c of a client a/b would be read as the role b/c of the client a, and pass for one held before."""
    ada = server.user("ada")
    server.clients["airflow/b"] = "uuid-of-a-stranger"
    server.mapped[ada]["uuid-of-a-stranger"].add(server.role("c", "uuid-of-a-stranger")["id"])
    assert idp.roles_of(ada) == {}


def test_a_client_made_anew(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """Its uuid is another: what was remembered must not stand in the way for ever."""
    ada = server.user("ada")
    idp.grant_role(ada, ROLE)
    old = server.clients["stint"]
    server.clients["stint"] = "u-new"
    del server.mapped[ada][old]
    del server.roles[old]
    idp.grant_role(ada, ROLE)
    assert held(server, ada) == {ROLE}
    server.clients["stint"] = "u-newer"
    server.mapped[ada]["u-newer"] = {server.role(ROLE, "u-newer")["id"]}
    del server.mapped[ada]["u-new"]
    del server.roles["u-new"]
    idp.revoke_role(ada, ROLE)
    assert held(server, ada) == set()


def test_one_role_has_one_name(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """Counted under two names, the end of one grant would take what another still needs."""
    ada = server.user("ada")
    idp.grant_role(ada, ROLE)
    alias = f"client/stint/{ROLE}"
    with pytest.raises(Refused, match="can't be mapped"):
        idp.grant_role(ada, alias)
    idp.revoke_role(ada, alias)
    assert held(server, ada) == {ROLE}
    assert not idp.inspect(alias).ok


def test_what_was_given_under_what_is_an_alias_now(server: FakeKeycloak) -> None:
    """Somebody has pointed Stint to another client since, whose roles were mapped before."""
    ada, role = server.user("ada"), "client/airflow/Op"
    server.role("Op", server.clients["airflow"])
    with closing(keycloak(server)) as before:
        before.grant_role(ada, role, key := before.prepare(role))
    now = KeycloakAdapter(
        "http://fake", "test", client_id="p", secret=SECRET, role_client="airflow", transport=server.transport()
    )
    with closing(now):
        now.revoke_role(ada, role, key)
    assert server.mapped[ada][server.clients["airflow"]] == set()


def test_not_in_the_realm_of_realms() -> None:
    with pytest.raises(Refused, match="master"):
        KeycloakAdapter("http://fake", "master", client_id="p", secret="s")
