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
from typing import NamedTuple

import httpx
import pytest

from grants.adapters.errors import AdapterError, Missing
from grants.adapters.idp.base import RoleProvider
from grants.adapters.idp.demo import DemoAdapter
from grants.adapters.idp.keycloak import KeycloakAdapter
from tests.adapters.contract import Recorder
from tests.adapters.contract_files import check
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.real.keycloak import Realm, adapter
from tests.real.prefect import free_port

ROLE = "prefect-prod:deployment:orders/nightly:run"
ODD = "prefect-prod:pool:a b%2F&ü?#:view"

pytestmark = pytest.mark.xdist_group("keycloak")


class Side(NamedTuple):
    """A provider under test: our adapter, somebody there, and what an admin of the provider sees, without us."""

    idp: RoleProvider
    ada: str
    held: Callable[[], set[str]]


@pytest.fixture
def fake() -> Iterator[Side]:
    server = FakeKeycloak()
    ada = server.user("ada")
    idp = KeycloakAdapter("http://fake", "test", client_id="p", secret="s", transport=server.transport())

    def held() -> set[str]:
        names = {role["id"]: name for name, role in server.roles[server.clients["stint"]].items()}
        return {names[pk] for pk in server.mapped[ada][server.clients["stint"]]}

    with closing(idp):
        yield Side(idp, ada, held)


@pytest.fixture(scope="module")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of the demo's provider, and the secret of its admin."""
    port, secret = free_port(), secrets.token_urlsafe(24)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("STINT_", "DJANGO_"))} | {
        "STINT_DEMO_DIR": str(tmp_path_factory.mktemp("provider")),
        "STINT_DEMO_OIDC_PORT": str(port),
        "STINT_DEMO_PORTAL_URL": "http://127.0.0.1:1",
        "STINT_DEMO_DIRECTORY_SECRET": secret,
        "STINT_DEMO_CLIENT_SECRET": "c" * 32,
        "STINT_DEMO_PROVIDER_KEY": "k" * 50,
    }
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "portal.demo.provider"], env=env, start_new_session=True)
    try:
        for _ in range(1200):
            try:
                httpx.get(f"{url}/provider.css")
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url, secret
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its worker, too
        process.wait()


@pytest.fixture
def demo(demo_server: tuple[str, str]) -> Iterator[Side]:
    url, secret = demo_server
    admin = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"})
    idp = DemoAdapter(url, secret=secret)
    ada = next(person for person in idp.people() if person.username == "ada").external_id
    with closing(idp), closing(admin):
        yield Side(idp, ada, lambda: set(admin.get(f"/admin/users/{ada}").json()["roles"]))
        for role in idp.roles_of(ada):  # what a test left there is not the next one's
            idp.revoke_role(ada, role)


@pytest.fixture
def real(realm: Realm) -> Iterator[Side]:
    """All that is said to a real Keycloak, and all that it answers, is held to its own description, too."""
    wire = Recorder(httpx.HTTPTransport())
    idp = adapter(realm, transport=wire)
    ada = realm.user("ada")
    with closing(idp):
        yield Side(idp, ada, lambda: realm.roles(ada))
    assert wire.exchanges
    for sent, answered in wire.exchanges:
        check("keycloak-admin-openapi.json", sent, answered)


@pytest.fixture(params=["fake", "demo", pytest.param("real", marks=pytest.mark.real)])
def side(request: pytest.FixtureRequest) -> Side:
    chosen: Side = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("role", [ROLE, ODD])
def test_given_and_taken_as_an_admin_sees_it(side: Side, role: str) -> None:
    assert not side.idp.roles_of(side.ada).keys() & {role}
    assert side.held() == set()
    side.idp.grant_role(side.ada, role)
    assert side.held() == {role}
    assert role in side.idp.roles_of(side.ada)
    side.idp.revoke_role(side.ada, role)
    assert side.held() == set()
    assert role not in side.idp.roles_of(side.ada)


def test_by_its_key(side: Side) -> None:
    key = side.idp.prepare(ROLE)
    assert side.held() == set()
    side.idp.grant_role(side.ada, ROLE, key)
    assert side.idp.roles_of(side.ada)[ROLE] == key
    side.idp.revoke_role(side.ada, ROLE, key)
    assert side.held() == set()
    side.idp.revoke_role(side.ada, ROLE, key)


def test_who_has_a_role_is_as_each_says_alone(side: Side, request: pytest.FixtureRequest) -> None:
    side.idp.grant_role(side.ada, ROLE)
    if "demo" in request.node.name:
        assert side.idp.holders(ROLE) is None
        return
    key = side.idp.roles_of(side.ada)[ROLE]
    assert side.idp.holders(ROLE) == (key, {side.ada})
    side.idp.revoke_role(side.ada, ROLE, key)
    assert side.idp.holders(ROLE) == (key, set())
    assert side.idp.holders("prefect-prod:pool:nobody-made-this:view") is None


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
    before = side.idp.roles_of(side.ada).keys()
    side.idp.revoke_role(side.ada, ROLE)
    assert side.idp.roles_of(side.ada).keys() == before - {ROLE}
    side.idp.revoke_role(side.ada, "prefect-prod:pool:nobody-made-this:view")
    assert side.held() == {ODD}


def test_several_in_one_call(side: Side) -> None:
    """All of them, or as each says alone: what has another name or key by now is an error, and no other is taken."""
    keys = {role: side.idp.prepare(role) for role in (ROLE, ODD)}
    kept = "prefect-prod:pool:kept:view"
    side.idp.grant_role(side.ada, kept)
    side.idp.grant_roles(side.ada, keys)
    assert side.held() == {ROLE, ODD, kept}
    side.idp.grant_roles(side.ada, keys)
    side.idp.revoke_roles(side.ada, keys)
    assert side.held() == {kept}
    side.idp.revoke_roles(side.ada, keys)
    if keys[ROLE]:
        with pytest.raises(AdapterError):
            side.idp.grant_roles(side.ada, {ROLE: keys[ROLE], ODD: keys[ROLE]})
        with pytest.raises(AdapterError):
            side.idp.revoke_roles(side.ada, {kept: keys[ROLE]})
        assert side.held() == {kept}


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
        assert people["ada"].groups == (("/team-ingest",) if "real" in request.node.name else ("team-ingest",))
        assert people["ada"].name == "Ada Okafor"
        assert set(people) == {"ada", "ben", "chiara", "tomasz", "priya", "olga", "oscar"}
