"""What a Keycloak may answer instead of what it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress

import httpx
import pytest

from grants.adapters import http as http_module
from grants.adapters.errors import AdapterError, Missing, Refused, Unavailable
from grants.adapters.idp import keycloak_realm
from grants.adapters.idp.keycloak import KeycloakAdapter
from tests.adapters.conftest import MAPPINGS, ROLE, SECRET, held, keycloak
from tests.adapters.contract_files import check
from tests.adapters.fake_keycloak import FakeKeycloak


def test_all_traffic_is_as_keycloak_describes_it(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    ada = server.user("ada")
    server.groups.append(({"id": "g", "name": "sre", "path": "/sre", "subGroupCount": 0}, [ada]))
    server.role("engineer", "", server.role("part"))
    idp.grant_role(ada, ROLE)
    idp.grant_role(ada, "realm/engineer")
    idp.roles_of(ada)
    idp.revoke_role(ada, ROLE)
    assert [person.groups for person in idp.people()] == [("/sre",)]
    assert len(server.exchanges) > 10
    for request, response in server.exchanges:
        check("keycloak-admin-openapi.json", request, response)


def test_a_token_that_died_is_renewed_once(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    ada = server.user("ada")
    idp.roles_of(ada)
    server.fault("GET", "role-mappings$", 401)
    idp.roles_of(ada)
    assert server.tokens == 2
    server.fault("GET", "role-mappings$", 401, times=2)
    with pytest.raises(Refused):
        idp.roles_of(ada)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, Refused), (409, Refused), (403, Refused), (429, Unavailable), (500, Unavailable), (503, Unavailable)],
)
def test_a_failure_is_a_failure(
    server: FakeKeycloak, idp: KeycloakAdapter, code: int, kind: type[AdapterError]
) -> None:
    ada = server.user("ada")
    server.fault("POST", MAPPINGS, code)
    with pytest.raises(kind):
        idp.grant_role(ada, ROLE)
    idp.grant_role(ada, ROLE)
    server.fault("DELETE", MAPPINGS, code)
    with pytest.raises(kind):
        idp.revoke_role(ada, ROLE)
    assert held(server, ada) == {ROLE}


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
def test_an_unreadable_answer_is_not_an_empty_one(
    server: FakeKeycloak, idp: KeycloakAdapter, answer: httpx.Response
) -> None:
    ada = server.user("ada")
    server.fault("GET", "role-mappings$", lambda _request: answer)
    with pytest.raises(Unavailable):
        idp.roles_of(ada)


def test_slow_answers_together_end_in_time(
    server: FakeKeycloak, idp: KeycloakAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keycloak_realm, "CALL_SECONDS", 0.2)
    ada = server.user("ada")

    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.15)
        return server._real(request)

    for method in ("GET", "POST"):
        server.fault(method, "clients|roles", slow, times=100)
    with pytest.raises(Unavailable, match="too slow"):
        idp.grant_role(ada, ROLE)
    assert len(server.requests) <= 5


@pytest.mark.parametrize("change", ["somebody is deleted", "somebody is added", "a page comes twice"])
def test_a_list_that_changes_under_the_reader_is_no_list(
    server: FakeKeycloak, idp: KeycloakAdapter, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Else whoever is passed over would look like one who left, and lose their grants."""
    monkeypatch.setattr(keycloak_realm, "_PAGE", 3)
    people = [server.user(name) for name in "abcdefg"]
    assert [person.external_id for person in idp.people()] == people
    rows = list(server.users.values())

    def page(request: httpx.Request) -> httpx.Response:
        answer = server._real(request)
        if change == "somebody is deleted":
            del server.users[people[0]]
        elif change == "somebody is added":
            server.users = {"0": rows[0] | {"id": "0"}, **server.users}
        return answer

    server.fault("GET", "users$", page)
    if change == "a page comes twice":
        server.fault("GET", "users$", lambda _request: httpx.Response(200, json=rows[:3]))
    with pytest.raises(Unavailable, match="changed while it was read"):
        idp.people()


def test_nobody_at_all_is_no_list(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """With too few rights Keycloak answers an empty list, and everybody would have left."""
    with pytest.raises(Refused, match="idp doctor"):
        idp.people()


def test_groups_without_end(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    server.user("ada")
    again = {"id": "g", "name": "g", "path": "/g", "subGroupCount": 1}
    server.groups.append((again, []))
    server.fault("GET", "children$", lambda _request: httpx.Response(200, json=[again]), times=10_000)
    with pytest.raises(Unavailable, match="without end"):
        idp.people()


def test_slow_down_is_passed_on_and_nothing_is_repeated(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """The pause between two tries is the binding's, and grows there."""
    ada = server.user("ada")
    late = httpx.Response(429, headers={"Retry-After": "60"})
    server.fault("POST", MAPPINGS, lambda _request: late)
    with pytest.raises(Unavailable, match="slow down"):
        idp.grant_role(ada, ROLE)
    assert sum(request.method == "POST" and MAPPINGS in request.url.path for request in server.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server: FakeKeycloak, idp: KeycloakAdapter, code: int) -> None:
    """It would carry Stint's token to wherever it points."""
    ada = server.user("ada")
    away = httpx.Response(code, headers={"Location": "http://evil.example/"})
    server.fault("GET", "role-mappings$", lambda _request: away)
    with pytest.raises(Refused, match="redirect"):
        idp.roles_of(ada)
    server.fault("POST", "token$", lambda _request: away)
    fresh = keycloak(server)
    with closing(fresh), pytest.raises(Refused):
        fresh.roles_of(ada)
    assert {request.url.host for request in server.requests} == {"fake"}


def test_a_huge_answer_is_not_kept(server: FakeKeycloak, idp: KeycloakAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "ANSWER_BYTES", 1000)
    ada = server.user("ada")
    for method, path in (("GET", "role-mappings$"), ("GET", "clients$")):
        server.fault(method, path, lambda _request: httpx.Response(200, json=["x" * 2000]))
    with pytest.raises(Unavailable, match="sent more than"):
        idp.roles_of(ada)
    with pytest.raises(Unavailable, match="sent more than"):
        idp.grant_role(ada, ROLE)


CALLS: dict[str, Callable[[KeycloakAdapter, str], object]] = {
    "give a mapped role": lambda idp, ada: idp.grant_role(ada, "realm/engineer"),
    "give one of Stint's": lambda idp, ada: idp.grant_role(ada, ROLE),
    "take": lambda idp, ada: idp.revoke_role(ada, ROLE),
    "read": lambda idp, ada: idp.roles_of(ada),
    "list": lambda idp, _: idp.people(),
    "examine": lambda idp, _: idp.doctor(),
    "inspect": lambda idp, _: idp.inspect("realm/engineer"),
}


PATHS = ["token", "clients", "role-mappings", "roles/engineer", "composites", "users", "groups", "members"]


def test_no_call_puts_anybody_into_a_group(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """Nor changes a person, or what a role is made of: all that is written is a role of Stint's own and a mapping."""
    ada = server.user("ada")
    server.role("engineer")
    for call in CALLS.values():
        call(idp, ada)
    written = {
        f"{request.method} {request.url.path.removeprefix('/admin/realms/test/').partition('/')[0]}"
        for request in server.requests
        if request.method != "GET"
    }
    assert written == {"POST ", "POST clients", "POST users", "DELETE users"}  # "" is the token
    for request in server.requests:
        if request.method in {"POST", "DELETE"} and "/users/" in request.url.path:
            assert "/role-mappings/" in request.url.path


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, [7], [{}], [[]], {"id": 7}, [{"id": 7}], {"realmMappings": 3}])
@pytest.mark.parametrize("call", CALLS)
def test_nonsense_is_one_of_three_errors(server: FakeKeycloak, junk: object, call: str) -> None:
    """Whatever stands in an answer; anything else would end a worker's turn."""
    ada = server.user("ada")
    server.groups.append(({"id": "g", "name": "sre", "path": "/sre", "subGroupCount": 0}, [ada]))
    server.role("engineer", "", server.role("part"))
    for path in PATHS:
        server.faults.clear()
        for method in ("GET", "POST"):
            server.fault(method, f"{path}$", lambda _request: httpx.Response(200, json=junk), times=99)
        one = keycloak(server)
        with closing(one), suppress(AdapterError):
            CALLS[call](one, ada)


@pytest.mark.parametrize(
    ("code", "word", "said"),
    [
        (401, "unauthorized_client", "does not take the secret of p"),
        (401, "invalid_client", "knows no client p"),
        (401, "invalid_request", "service account of p is switched off"),
        (403, "access_denied", "realm test is switched off"),
        (404, "", "no realm test"),
        (401, SECRET, "refused Stint's credentials"),
    ],
)
def test_why_there_is_no_token(server: FakeKeycloak, idp: KeycloakAdapter, code: int, word: str, said: str) -> None:
    answer = httpx.Response(code, json={"error": word, "error_description": f"{SECRET} is wrong"})
    server.fault("POST", "token$", lambda _request: answer, times=9)
    with pytest.raises(Refused, match=said) as caught:
        idp.roles_of("x")
    assert SECRET not in caught.value.reason
    (finding,) = idp.doctor()
    assert not finding.ok
    assert said in finding.what


def test_a_right_that_is_missing_is_said(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    server.fault("GET", "role-mappings$", 403)
    with pytest.raises(Refused, match=r"lacks the right .* idp doctor"):
        idp.roles_of(server.user("ada"))


def test_no_secret_and_no_token_in_any_error(
    server: FakeKeycloak, idp: KeycloakAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    ada = server.user("ada")
    said = []
    for code in (400, 401, 403, 404, 429, 500):
        for path in ("token$", "role-mappings", "clients"):
            server.faults.clear()
            for method in ("GET", "POST"):
                server.fault(method, path, code, times=9)
            fresh = keycloak(server)
            with closing(fresh), pytest.raises(AdapterError) as caught:
                fresh.grant_role(ada, ROLE)
                fresh.roles_of(ada)
            said += [str(caught.value), repr(caught.value)]
    everything = "\n".join(said) + caplog.text + repr(idp) + repr(vars(idp))
    assert SECRET not in everything
    assert "Bearer" not in everything


def test_somebody_who_is_gone_is_said(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    with pytest.raises(Missing, match="does not know this person"):
        idp.roles_of("x")


def test_a_proxy_that_finds_nothing_is_no_proof_that_somebody_left(server: FakeKeycloak, idp: KeycloakAdapter) -> None:
    """An ingress whose Keycloak is away answers 404 to all: a role "read back as gone" would stay for ever."""
    ada = server.user("ada")
    idp.grant_role(ada, ROLE)
    server.fault("DELETE", "", 404, times=9)
    server.fault("GET", "", 404, times=99)
    with suppress(AdapterError):
        idp.revoke_role(ada, ROLE)
    with pytest.raises(Unavailable):
        idp.roles_of(ada)
    server.faults.clear()
    assert held(server, ada) == {ROLE}
    del server.users[ada]
    with pytest.raises(Missing):
        idp.roles_of(ada)
