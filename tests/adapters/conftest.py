from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from grants.adapters.idp.keycloak import KeycloakAdapter
from tests.adapters.fake_keycloak import FakeKeycloak

SECRET = "canary-4711"
ROLE = "prefect-prod:pool:etl:run"
MAPPINGS = "role-mappings/clients"


@pytest.fixture
def server() -> FakeKeycloak:
    return FakeKeycloak()


def keycloak(server: FakeKeycloak) -> KeycloakAdapter:
    return KeycloakAdapter("http://fake", "test", client_id="p", secret=SECRET, transport=server.transport())


@pytest.fixture
def idp(server: FakeKeycloak) -> Iterator[KeycloakAdapter]:
    with closing(keycloak(server)) as one:
        yield one


def held(server: FakeKeycloak, user: str) -> set[str]:
    """The roles of Stint's client that this user has, as an admin sees it."""
    names = {role["id"]: name for name, role in server.roles[server.clients["stint"]].items()}
    return {names[pk] for pk in server.mapped[user][server.clients["stint"]]}
