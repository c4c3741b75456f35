"""One suite for all that give roles: the fake, the demo's real provider, a real Keycloak."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from grants.adapters.errors import Missing, Refused
from grants.adapters.idp.base import IdP
from grants.adapters.idp.demo import Demo
from grants.adapters.idp.keycloak import Keycloak
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.real.keycloak import Realm, keycloak, realm  # noqa: F401 (fixtures)
from tests.real.prefect import free_port

ROLE = "prefect-prod:deployment:orders/nightly:run"
ODD = "prefect-prod:pool:a b%2F&ü?#:view"

pytestmark = pytest.mark.xdist_group("keycloak")


class Side(NamedTuple):
    """A provider under test: our adapter, somebody there, and what an admin of the provider sees, without us."""

    idp: IdP
    ada: str
    held: Callable[[], set[str]]


@pytest.fixture
def fake() -> Iterator[Side]:
    server = FakeKeycloak()
    ada = server.user("ada")
    idp = Keycloak("http://fake", "test", client_id="p", secret="s", transport=server.transport())

    def held() -> set[str]:
        names = {role["id"]: name for name, role in server.roles[server.clients["stint"]].items()}
        return {names[pk] for pk in server.mapped[ada][server.clients["stint"]]}

    with closing(idp):
        yield Side(idp, ada, held)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Side]:
    port, secret = free_port(), secrets.token_urlsafe(24)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("STINT_", "DJANGO_"))} | {
        "STINT_DEMO_DIR": str(tmp_path),
        "STINT_DEMO_OIDC_PORT": str(port),
        "STINT_DEMO_PORTAL_URL": "http://127.0.0.1:1",
        "STINT_DEMO_DIRECTORY_SECRET": secret,
        "STINT_DEMO_CLIENT_SECRET": "c" * 32,
        "STINT_DEMO_PROVIDER_KEY": "k" * 50,
    }
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "portal.demo.provider"], env=env, start_new_session=True)
    admin = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"})
    try:
        for _ in range(300):
            try:
                admin.get("/provider.css")
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        idp = Demo(url, secret=secret)
        ada = next(person for person in idp.people() if person.username == "ada").external_id
        with closing(idp), closing(admin):
            yield Side(idp, ada, lambda: set(admin.get(f"/admin/users/{ada}").json()["roles"]))
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its worker, too
        process.wait()


@pytest.fixture
def real(realm: Realm) -> Iterator[Side]:  # noqa: F811
    idp = Keycloak(realm.url, realm.name, client_id="stint-provisioner", secret=realm.provisioner_secret)
    ada = realm.user("ada")
    with closing(idp):
        yield Side(idp, ada, lambda: realm.roles(ada))


@pytest.fixture(params=["fake", "demo", pytest.param("real", marks=pytest.mark.real)])
def side(request: pytest.FixtureRequest) -> Side:
    chosen: Side = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("role", [ROLE, ODD])
def test_given_and_taken_as_an_admin_sees_it(side: Side, role: str) -> None:
    assert side.idp.roles_of(side.ada) >= side.held() == set()
    side.idp.grant_role(side.ada, role)
    assert side.held() == {role}
    assert role in side.idp.roles_of(side.ada)
    side.idp.revoke_role(side.ada, role)
    assert side.held() == set()
    assert role not in side.idp.roles_of(side.ada)


def test_twice_is_once(side: Side) -> None:
    for _ in range(2):
        side.idp.grant_role(side.ada, ROLE)
    assert side.held() == {ROLE}
    for _ in range(2):
        side.idp.revoke_role(side.ada, ROLE)
    assert side.held() == set()


def test_taking_one_leaves_the_others(side: Side) -> None:
    """At Keycloak a DELETE without a body would take them all."""
    for role in (ROLE, ODD):
        side.idp.grant_role(side.ada, role)
    before = side.idp.roles_of(side.ada)
    side.idp.revoke_role(side.ada, ROLE)
    assert side.idp.roles_of(side.ada) == before - {ROLE}
    side.idp.revoke_role(side.ada, "prefect-prod:pool:nobody-made-this:view")
    assert side.held() == {ODD}


def test_many_at_once(side: Side) -> None:
    roles = [f"prefect-prod:pool:p{n % 4}:view" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda role: side.idp.grant_role(side.ada, role), roles))
        assert side.held() == set(roles)
        list(pool.map(lambda role: side.idp.revoke_role(side.ada, role), roles))
    assert side.held() == set()


def test_nobody_of_this_id(side: Side) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(Missing):
        side.idp.roles_of(nobody)
    with pytest.raises(Missing):
        side.idp.grant_role(nobody, ROLE)
    side.idp.revoke_role(nobody, ROLE)


def test_people_with_their_groups(side: Side, request: pytest.FixtureRequest) -> None:
    people = {person.username: person for person in side.idp.people()}
    assert people["ada"].external_id == side.ada
    if "fake" not in request.node.name:
        assert people["ada"].groups == ("team-ingest",)
        assert people["ada"].name == "Ada Okafor"
        assert set(people) == {"ada", "ben", "chiara", "tomasz", "priya", "olga", "oscar"}


@pytest.mark.real
def test_what_administers_the_realm_is_never_given(realm: Realm) -> None:  # noqa: F811
    idp = Keycloak(realm.url, realm.name, client_id="stint-provisioner", secret=realm.provisioner_secret)
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


@pytest.mark.real
def test_a_composite_that_cannot_be_seen_into_is_refused(keycloak: str) -> None:  # noqa: F811
    """Without the right to see clients, Keycloak shows a composite of realm-admin as if it were empty."""
    blind = Realm(keycloak, provisioner_roles=("manage-users", "view-realm"))
    try:
        hull = blind.make("hull")
        blind.compose(hull, blind.management_role("realm-admin"), blind.make("harmless"))
        idp = Keycloak(blind.url, blind.name, client_id="stint-provisioner", secret=blind.provisioner_secret)
        with closing(idp), pytest.raises(Refused):
            idp.grant_role(blind.user("ada"), "realm/hull")
    finally:
        blind.drop()


@pytest.mark.real
@pytest.mark.parametrize(
    ("rights", "wrong"),
    [
        (("manage-users", "view-realm", "manage-clients"), []),
        (("manage-users", "view-realm"), ["manage-clients is missing", "There is no client"]),
        (("manage-users", "view-realm", "manage-clients", "manage-realm"), ["manage-realm is more"]),
        (("manage-clients",), ["manage-users is missing", "view-realm is missing"]),
    ],
)
def test_the_doctor_names_what_is_missing_and_what_is_too_much(
    keycloak: str,  # noqa: F811
    rights: tuple[str, ...],
    wrong: list[str],
) -> None:
    one = Realm(keycloak, provisioner_roles=rights)
    try:
        idp = Keycloak(one.url, one.name, client_id="stint-provisioner", secret=one.provisioner_secret)
        with closing(idp):
            findings = [finding for finding in idp.doctor() if not finding.ok]
        assert len(findings) == len(wrong), findings
        for finding, said in zip(findings, wrong, strict=True):
            assert said in finding.what
            assert finding.fix
    finally:
        one.drop()


@pytest.mark.real
def test_a_role_made_anew_under_its_name(realm: Realm) -> None:  # noqa: F811
    """Its id is another now: the cached one answers 404, and must not count as taken."""
    idp = Keycloak(realm.url, realm.name, client_id="stint-provisioner", secret=realm.provisioner_secret)
    ada = realm.user("ada")
    with closing(idp):
        idp.grant_role(ada, ROLE)
        name = ROLE.replace("/", "%2F")
        realm.call("DELETE", f"/clients/{realm.stint}/roles/{name}")
        realm.map(ada, realm.make(ROLE, realm.stint), realm.stint)
        idp.revoke_role(ada, ROLE)
        assert realm.roles(ada) == set()
