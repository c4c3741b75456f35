"""What a Keycloak may answer instead of what it should, and what must never be sent to one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from grants.adapters.errors import AdapterError, Missing, Refused, Unavailable
from grants.adapters.idp import keycloak as adapter
from grants.adapters.idp.keycloak import Keycloak
from tests.adapters.contract_files import check
from tests.adapters.fake_keycloak import FakeKeycloak

SECRET = "canary-4711"
ROLE = "prefect-prod:pool:etl:run"
MAPPINGS = "role-mappings/clients"


@pytest.fixture
def server() -> FakeKeycloak:
    return FakeKeycloak()


@pytest.fixture
def idp(server: FakeKeycloak) -> Iterator[Keycloak]:
    one = Keycloak("http://fake", "test", client_id="p", secret=SECRET, transport=server.transport())
    with closing(one):
        yield one


def held(server: FakeKeycloak, user: str) -> set[str]:
    names = {role["id"]: name for name, role in server.roles[server.clients["stint"]].items()}
    return {names[pk] for pk in server.mapped[user][server.clients["stint"]]}


def test_all_traffic_is_as_keycloak_describes_it(server: FakeKeycloak, idp: Keycloak) -> None:
    ada = server.user("ada")
    server.groups.append(({"id": "g", "name": "sre", "path": "/sre", "subGroupCount": 0}, [ada]))
    server.role("engineer", "", server.role("part"))
    idp.grant_role(ada, ROLE)
    idp.grant_role(ada, "realm/engineer")
    idp.roles_of(ada)
    idp.revoke_role(ada, ROLE)
    assert [person.groups for person in idp.people()] == [("sre",)]
    assert len(server.exchanges) > 10
    for request, response in server.exchanges:
        check("keycloak-admin-openapi.json", request, response)


def test_no_delete_goes_without_the_one_role_it_means(server: FakeKeycloak, idp: Keycloak) -> None:
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


def test_a_token_that_died_is_renewed_once(server: FakeKeycloak, idp: Keycloak) -> None:
    ada = server.user("ada")
    idp.roles_of(ada)
    server.fault("GET", "role-mappings$", 401)
    idp.roles_of(ada)
    assert server.tokens == 2
    server.fault("GET", "role-mappings$", 401, times=2)
    with pytest.raises(Refused):
        idp.roles_of(ada)


@pytest.mark.parametrize("code", [400, 409, 500])
def test_a_race_that_did_it_is_success(server: FakeKeycloak, idp: Keycloak, code: int) -> None:
    ada = server.user("ada")

    def did_it(request: httpx.Request) -> httpx.Response:
        server._real(request)
        return httpx.Response(code, json={"errorMessage": "Could not add user role mappings!"})

    server.fault("POST", MAPPINGS, did_it)
    idp.grant_role(ada, ROLE)
    server.fault("DELETE", MAPPINGS, did_it)
    idp.revoke_role(ada, ROLE)
    assert held(server, ada) == set()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, Refused), (409, Refused), (403, Refused), (429, Unavailable), (500, Unavailable), (503, Unavailable)],
)
def test_a_failure_is_a_failure(server: FakeKeycloak, idp: Keycloak, code: int, kind: type[AdapterError]) -> None:
    ada = server.user("ada")
    server.fault("POST", MAPPINGS, code)
    with pytest.raises(kind):
        idp.grant_role(ada, ROLE)
    idp.grant_role(ada, ROLE)
    server.fault("DELETE", MAPPINGS, code)
    with pytest.raises(kind):
        idp.revoke_role(ada, ROLE)
    assert held(server, ada) == {ROLE}


def test_a_role_made_by_somebody_else_a_moment_before(server: FakeKeycloak, idp: Keycloak) -> None:
    ada = server.user("ada")

    def faster(_request: httpx.Request) -> httpx.Response:
        server.role(ROLE, server.clients["stint"])
        return httpx.Response(409, json={"errorMessage": "Role exists"})

    server.fault("POST", "/roles$", faster)
    idp.grant_role(ada, ROLE)
    assert held(server, ada) == {ROLE}


def test_hidden_parts_of_a_composite_are_refused(server: FakeKeycloak, idp: Keycloak) -> None:
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
    blind = Keycloak("http://fake", "test", client_id="p", secret=SECRET, transport=server.transport())
    with closing(blind), pytest.raises(Refused, match="can't see"):
        blind.grant_role(ada, "realm/half")
    assert server.mapped[ada][""] == set()


@pytest.mark.parametrize(
    "role", ["client/realm-management/manage-users", "client/acme-realm/x", "realm/admin", "realm/default-roles-test"]
)
def test_roles_of_the_administration_are_refused_by_name(server: FakeKeycloak, idp: Keycloak, role: str) -> None:
    ada = server.user("ada")
    server.clients["acme-realm"] = "u-acme"
    kind, _, name = role.partition("/")
    client, _, rest = name.partition("/")
    server.role(rest or name, server.clients[client] if kind == "client" else "")
    with pytest.raises(Refused):
        idp.grant_role(ada, role)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"realmMappings": [{"id": "x"}]}),
        httpx.Response(200, json={"clientMappings": {"stint": []}}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"realmMappings": None}),
    ],
)
def test_an_unreadable_answer_is_not_an_empty_one(server: FakeKeycloak, idp: Keycloak, answer: httpx.Response) -> None:
    ada = server.user("ada")
    server.fault("GET", "role-mappings$", lambda _request: answer)
    with pytest.raises(Unavailable):
        idp.roles_of(ada)


def test_slow_answers_together_end_in_time(
    server: FakeKeycloak, idp: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "CALL_SECONDS", 0.2)
    ada = server.user("ada")

    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.15)
        return server._real(request)

    for method in ("GET", "POST"):
        server.fault(method, "clients|roles", slow, times=100)
    with pytest.raises(Unavailable, match="too slow"):
        idp.grant_role(ada, ROLE)
    assert len(server.requests) <= 5


def test_a_list_that_changes_under_the_reader_is_no_list(
    server: FakeKeycloak, idp: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_PAGE", 2)
    for name in "abcde":
        server.user(name)
    assert len(idp.people()) == 5
    rows = list(server.users.values())
    server.fault("GET", "users$", lambda _request: httpx.Response(200, json=rows[:2]), times=2)
    with pytest.raises(Unavailable, match="twice"):
        idp.people()


def test_no_secret_and_no_token_in_any_error(
    server: FakeKeycloak, idp: Keycloak, caplog: pytest.LogCaptureFixture
) -> None:
    ada = server.user("ada")
    said = []
    for code in (400, 401, 403, 404, 429, 500):
        for path in ("token$", "role-mappings", "clients"):
            server.faults.clear()
            for method in ("GET", "POST"):
                server.fault(method, path, code, times=9)
            fresh = Keycloak("http://fake", "test", client_id="p", secret=SECRET, transport=server.transport())
            with closing(fresh), pytest.raises(AdapterError) as caught:
                fresh.grant_role(ada, ROLE)
                fresh.roles_of(ada)
            said += [str(caught.value), repr(caught.value)]
    everything = "\n".join(said) + caplog.text
    assert SECRET not in everything
    assert "Bearer" not in everything


def test_a_realm_that_is_not_there_is_said(server: FakeKeycloak, idp: Keycloak) -> None:
    server.fault("POST", "token$", 404)
    with pytest.raises(Refused, match="no realm"):
        idp.roles_of("x")
    with pytest.raises(Missing):
        idp.roles_of("x")
