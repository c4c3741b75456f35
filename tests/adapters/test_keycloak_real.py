"""What only a real Keycloak can show: what it hides, what its tokens die of, which rights are too many."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from grants.adapters.errors import Missing, Refused
from grants.adapters.idp import keycloak_realm
from grants.provisioning.leases import Lease, Result
from grants.provisioning.plan import Step
from grants.provisioning.steps import act
from tests.adapters.test_idp_contract import ROLE
from tests.real.keycloak import Realm, adapter

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("keycloak")]

NEEDED = ("manage-users", "view-realm", "manage-clients")
PROVISIONER = "stint-provisioner"


def test_what_administers_the_realm_is_never_given(realm: Realm) -> None:
    idp = adapter(realm)
    ada = realm.user("ada")
    deep, hull = realm.make("deep"), realm.make("hull")
    realm.compose(deep, realm.management_role("manage-users"))
    realm.compose(hull, deep)
    harmless, box = realm.make("harmless"), realm.make("box")
    realm.compose(box, harmless)
    with closing(idp):
        for role in (
            "realm/hull",
            "realm/deep",
            "client/realm-management/realm-admin",
            f"realm/default-roles-{realm.name}",
        ):
            with pytest.raises(Refused):
                idp.grant_role(ada, role)
        assert not idp.inspect("realm/hull").ok
        idp.grant_role(ada, "realm/box")
        assert "box" in realm.realm_roles(ada)
        before = realm.realm_roles(ada)
        idp.revoke_role(ada, "realm/box")
        assert realm.realm_roles(ada) == before - {"box"}
        with pytest.raises(Missing):
            idp.grant_role(ada, "realm/nobody-made-this")


def test_a_composite_that_cannot_be_seen_into_is_refused(keycloak: str) -> None:
    """Without the right to see clients, Keycloak shows a composite of realm-admin as if it were empty."""
    blind = Realm(keycloak, provisioner_roles=("manage-users", "view-realm"))
    try:
        hull = blind.make("hull")
        blind.compose(hull, blind.management_role("realm-admin"), blind.make("harmless"))
        idp = adapter(blind)
        with closing(idp), pytest.raises(Refused):
            idp.grant_role(blind.user("ada"), "realm/hull")
    finally:
        blind.drop()


def role_of(realm: Realm, role: str, client: str = "") -> dict[str, Any]:
    found: dict[str, Any] = realm.get(f"{f'/clients/{client}' if client else ''}/roles/{role.replace('/', '%2F')}")
    return found


def rename(realm: Realm, role: dict[str, Any]) -> None:
    realm.call("PUT", f"/roles-by-id/{role['id']}", {**role, "name": "another"})


def given(realm: Realm, ada: str, role: str = ROLE) -> str:
    """Given by a worker that is gone; the key that it left."""
    with closing(adapter(realm)) as idp:
        key = idp.prepare(role)
        idp.grant_role(ada, role, key)
        assert idp.roles_of(ada)[role] == key
    return key


def test_a_role_made_anew_under_its_name(realm: Realm) -> None:
    """Its id is another now: the old one answers 404, and must not count as taken."""
    ada = realm.user("ada")
    key = given(realm, ada)
    realm.call("DELETE", f"/roles-by-id/{role_of(realm, ROLE, realm.stint)['id']}")
    realm.map(ada, realm.make(ROLE, realm.stint), realm.stint)
    with closing(adapter(realm)) as idp:
        idp.revoke_role(ada, ROLE, key)
    assert realm.roles(ada) == set()


@pytest.mark.parametrize("namesake", ["none", "made", "held"])
@pytest.mark.parametrize("role", [ROLE, "realm/given"])
def test_a_role_with_another_name(realm: Realm, role: str, namesake: str) -> None:
    """It is still held: a 404 for its old name is no proof that it is gone, nor is taking what is called so now."""
    ada = realm.user("ada")
    client, name = ("", "given") if role == "realm/given" else (realm.stint, role)
    if not client:
        realm.make(name)
    before = realm.roles(ada) | realm.realm_roles(ada)
    key = given(realm, ada, role)
    rename(realm, was := role_of(realm, name, client))
    if namesake != "none":
        new = realm.make(name, client)
        if namesake == "held":
            realm.map(ada, new, client)
    with closing(adapter(realm)) as idp:
        idp.revoke_role(ada, role, key)
        assert realm.roles(ada) | realm.realm_roles(ada) == before
        idp.revoke_role(ada, role, key)
        realm.call("DELETE", f"/roles-by-id/{was['id']}")
        idp.revoke_role(ada, role, key)


@pytest.mark.parametrize("step", [Step.CHECK, Step.GIVE])
def test_a_role_with_another_name_is_not_held_beside_the_new_one(realm: Realm, step: Step) -> None:
    """It is looked at again, for an extension say: not there, so it is given anew, and what was given first goes."""
    ada = realm.user("ada")
    key = given(realm, ada)
    rename(realm, role_of(realm, ROLE, realm.stint))
    with closing(adapter(realm)) as idp:
        anew, result = act(idp, Lease(1, 1, ada, ROLE, False, 1, None, step, uuid4(), 0.0, key))
        assert result is Result.RETRY_WITH_NEW_KEY
        assert realm.roles(ada) == set(), "nothing is given whose key is not written down"
        done, result = act(idp, anew)
        assert (done, result) == (anew, Result.GIVEN)
        assert realm.roles(ada) == {ROLE}
        assert done.role_key == idp.roles_of(ada)[ROLE] != key


def test_what_lingers_is_found_under_another_name(realm: Realm) -> None:
    ada = realm.user("ada")
    key = given(realm, ada)
    rename(realm, role_of(realm, ROLE, realm.stint))
    lease = Lease(1, 1, ada, ROLE, False, 1, None, Step.RECHECK, uuid4(), 0.0, key)
    with closing(adapter(realm)) as idp:
        assert act(idp, lease) == (lease, Result.LINGERED)
        assert realm.roles(ada) == set()
        assert act(idp, lease) == (lease._replace(role_key=""), Result.CLEAR)  # what is held so later is not ours


def test_a_role_whose_client_has_another_name_or_is_gone(realm: Realm) -> None:
    ada, path = realm.user("ada"), "/clients?clientId=other"
    realm.call("POST", "/clients", {"clientId": "other"})
    other = realm.get(path)[0]
    realm.make("given", other["id"])
    role = "client/other/given"
    key = given(realm, ada, role)
    rename(realm, role_of(realm, "given", other["id"]))
    realm.call("PUT", f"/clients/{other['id']}", {**other, "clientId": "moved"})
    with closing(adapter(realm)) as idp:
        assert "client/moved/another" in idp.roles_of(ada)
        idp.revoke_role(ada, role, key)
        assert "client/moved/another" not in idp.roles_of(ada)
        realm.call("DELETE", f"/clients/{other['id']}")
        idp.revoke_role(ada, role, key)
        idp.revoke_role(ada, role)


def test_only_what_is_given_directly_is_read_and_taken(realm: Realm) -> None:
    """What a group or a composite gives is neither found before nor lost at the end."""
    idp = adapter(realm)
    ada = realm.user("ada")
    role, box = realm.make(ROLE, realm.stint), realm.make("box")
    realm.compose(box, role)
    realm.map(ada, box)
    group = realm.get(f"/users/{ada}/groups")[0]["id"]
    mapping = f"role-mappings/clients/{realm.stint}"
    realm.call("POST", f"/groups/{group}/{mapping}", [{"id": role["id"], "name": role["name"]}])
    with closing(idp):
        assert ROLE not in idp.roles_of(ada)
        idp.grant_role(ada, ROLE)
        assert ROLE in idp.roles_of(ada)
        idp.revoke_role(ada, ROLE)
        assert ROLE not in idp.roles_of(ada)
    assert [one["name"] for one in realm.get(f"/users/{ada}/{mapping}/composite")] == [ROLE]
    assert "box" in realm.realm_roles(ada)


def test_a_given_role_and_the_groups_are_in_the_next_token(realm: Realm) -> None:
    """By the mappers of portal/demo/realm.py: by itself Keycloak puts neither into an ID token."""
    idp = adapter(realm)
    ada = realm.user("ada")
    path = f"/clients/{realm.stint}/evaluate-scopes/generate-example-id-token?scope=openid&userId={ada}"
    with closing(idp):
        assert "roles" not in realm.get(path)  # an empty list is never sent
        idp.grant_role(ada, ROLE)
        assert realm.get(path)["roles"] == [ROLE]
        assert realm.get(path)["groups"] == ["/team-ingest"]
        realm.call("DELETE", f"/users/{ada}/groups/{realm.get(f'/users/{ada}/groups')[0]['id']}")
        assert "groups" not in realm.get(path)


def test_a_client_made_anew(realm: Realm) -> None:
    idp = adapter(realm)
    ada = realm.user("ada")
    with closing(idp):
        idp.grant_role(ada, ROLE)
        realm.call("DELETE", f"/clients/{realm.stint}")
        realm.call("POST", "/clients", {"clientId": "stint"})
        realm.stint = realm.get("/clients?clientId=stint")[0]["id"]
        idp.grant_role(ada, ROLE)
        assert realm.roles(ada) == {ROLE}


@pytest.mark.parametrize("way", ["its session is ended", "everybody is logged out", "tokens of before are void"])
def test_our_token_dies_before_its_time(realm: Realm, way: str) -> None:
    idp = adapter(realm)
    ada = realm.user("ada")
    with closing(idp):
        idp.grant_role(ada, ROLE)
        before = idp._realm._token[0]
        time.sleep(1.1)  # these know whole seconds
        if way == "its session is ended":
            realm.call("POST", f"/users/{realm.account}/logout")
        elif way == "everybody is logged out":
            realm.call("POST", "/logout-all")
        else:
            realm.call("PUT", "", {"notBefore": int(time.time())})
        time.sleep(1.1)
        idp.revoke_role(ada, ROLE)
        assert realm.roles(ada) == set()
        assert idp._realm._token[0] != before


def test_a_list_in_many_pages_is_whole(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order must be the same from page to page, in groups as well."""
    idp = adapter(realm)
    with closing(idp):
        whole = idp.people()
        monkeypatch.setattr(keycloak_realm, "_PAGE", 2)
        assert sorted(idp.people()) == sorted(whole)
        assert len(whole) == 7
        parent = realm.get("/groups?search=team-ingest")[0]["id"]
        for n in range(12):
            realm.call("POST", f"/groups/{parent}/children", {"name": f"sub-{n}"})
        deep = realm.get(f"/groups/{parent}/children?max=20")[7]
        realm.call("PUT", f"/users/{realm.user('ada')}/groups/{deep['id']}")
        ada = next(person for person in idp.people() if person.username == "ada")
        assert f"/team-ingest/{deep['name']}" in ada.groups


def test_without_the_right_it_is_said(keycloak: str) -> None:
    one = Realm(keycloak, provisioner_roles=("view-users", "view-realm", "manage-clients"))
    try:
        idp = adapter(one)
        with closing(idp), pytest.raises(Refused, match="lacks the right"):
            idp.grant_role(one.user("ada"), ROLE)
    finally:
        one.drop()


def test_with_too_few_rights_nobody_has_left(keycloak: str) -> None:
    """Keycloak lists nobody then, and does not refuse."""
    one = Realm(keycloak, provisioner_roles=("query-users", "query-groups"))
    try:
        idp = adapter(one)
        with closing(idp), pytest.raises(Refused):
            idp.people()
    finally:
        one.drop()


@pytest.mark.parametrize(
    ("rights", "wrong"),
    [
        (NEEDED, []),
        (("manage-users", "view-realm"), ["manage-clients is missing", "There is no client"]),
        ((*NEEDED, "manage-realm"), ["manage-realm is more"]),
        (("manage-clients",), ["manage-users is missing", "view-realm is missing"]),
        ((), ["manage-users is missing", "view-realm is missing", "manage-clients is missing", "There is no client"]),
    ],
)
def test_the_doctor_names_what_is_missing_and_what_is_too_much(
    keycloak: str,
    rights: tuple[str, ...],
    wrong: list[str],
) -> None:
    one = Realm(keycloak, provisioner_roles=rights)
    try:
        idp = adapter(one)
        with closing(idp):
            findings = [finding for finding in idp.doctor() if not finding.ok]
        assert len(findings) == len(wrong), findings
        for finding, said in zip(findings, wrong, strict=True):
            assert said in finding.what
            assert finding.fix
    finally:
        one.drop()


def by_composite(realm: Realm) -> str:
    realm.map(realm.account, realm.management_role("realm-admin"), realm.management)
    return "Take realm-admin from the service account"


def by_role_of_the_realm(realm: Realm) -> str:
    operators = realm.make("operators")
    inner = realm.make("inner")
    realm.compose(inner, realm.management_role("impersonation"))
    realm.compose(operators, inner)
    realm.map(realm.account, operators)
    return "Take operators from the service account"


def by_group(realm: Realm) -> str:
    realm.call("POST", "/groups", {"name": "ops"})
    parent = realm.get("/groups?search=ops")[0]["id"]
    realm.call("POST", f"/groups/{parent}/children", {"name": "night"})
    child = realm.get(f"/groups/{parent}/children")[0]["id"]
    role = realm.management_role("manage-realm")
    body = [{"id": role["id"], "name": role["name"]}]
    realm.call("POST", f"/groups/{parent}/role-mappings/clients/{realm.management}", body)
    realm.call("PUT", f"/users/{realm.account}/groups/{child}")
    return "out of group /ops, or manage-realm"


def by_default(realm: Realm) -> str:
    name = f"default-roles-{realm.name}"
    default = realm.get(f"/roles/{name}")
    realm.map(realm.account, default)  # as every account has that was not imported
    realm.compose(default, realm.management_role("view-events"))
    return "from the realm's default roles"


@pytest.mark.parametrize("way", [by_composite, by_role_of_the_realm, by_group, by_default])
def test_the_doctor_finds_rights_that_come_indirectly(realm: Realm, way: Callable[[Realm], str]) -> None:
    fix = way(realm)
    idp = adapter(realm)
    with closing(idp):
        (finding,) = [finding for finding in idp.doctor() if not finding.ok]
    assert "more than Stint needs" in finding.what
    assert fix in finding.fix


def wrong_secret(realm: Realm) -> str:
    realm.provisioner_secret = "x"
    return "does not take the secret"


def client_off(realm: Realm) -> str:
    realm.call("PUT", f"/clients/{realm.provisioner}", {"enabled": False})
    return "or it is switched off"


def account_off(realm: Realm) -> str:
    realm.call("PUT", f"/users/{realm.account}", {"enabled": False})
    return "service account of stint-provisioner is switched off"


def no_account(realm: Realm) -> str:
    realm.call("PUT", f"/clients/{realm.provisioner}", {"serviceAccountsEnabled": False})
    return "has no service account"


def no_realm(realm: Realm) -> str:
    realm.name += "x"
    return "has no realm"


@pytest.mark.parametrize("wrong", [wrong_secret, client_off, account_off, no_account, no_realm])
def test_the_doctor_says_why_there_is_no_token(realm: Realm, wrong: Callable[[Realm], str]) -> None:
    name = realm.name
    said = wrong(realm)
    idp = adapter(realm)
    realm.name = name
    with closing(idp):
        (finding,) = idp.doctor()
    assert not finding.ok
    assert said in finding.what
    assert finding.fix
