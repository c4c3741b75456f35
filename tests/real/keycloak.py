"""A real Keycloak for tests, judged by an admin client that shares nothing with our adapter.

Ask for the fixture `keycloak`, or `realm` for one of your own. One server serves all workers of a run: the first
one that needs it starts it, the last one out stops it. KEYCLOAK_URL (with the bootstrap admin) takes one that runs.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from grants.adapters.idp.keycloak import Keycloak
from portal.demo import keycloak as server
from portal.demo.realm import realm as realm_json
from portal.embedded import EmbeddedError
from tests.real.prefect import missing

PORTAL = "http://127.0.0.1:8000"
_CAST = Path(server.__file__).parent / "provider" / "cast.yaml"


class Realm:
    """A realm of one test, as its admin sees it: plain httpx, the bootstrap admin, nothing of ours."""

    def __init__(self, url: str, *, portal: str = PORTAL, **options: Any) -> None:
        self.url = url
        self.name = f"r{uuid.uuid4().hex[:10]}"
        self.client_secret = secrets.token_urlsafe(24)
        self.provisioner_secret = secrets.token_urlsafe(24)
        people = options.pop("people", None) or yaml.safe_load(_CAST.read_text(encoding="utf-8"))
        self.http = httpx.Client(base_url=url, timeout=30)
        self.login()
        body = realm_json(
            self.name,
            portal=portal,
            client_secret=self.client_secret,
            provisioner_secret=self.provisioner_secret,
            people=people,
            **options,
        )
        self.http.post("/admin/realms", json=body).raise_for_status()
        self.stint = self.get("/clients?clientId=stint")[0]["id"]
        self.management = self.get("/clients?clientId=realm-management")[0]["id"]
        self.provisioner = self.get("/clients?clientId=stint-provisioner")[0]["id"]
        self.account = self.get(f"/clients/{self.provisioner}/service-account-user")["id"]

    def login(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": server.ADMIN, "password": server.ADMIN}
        answer = self.http.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, json: Any = None) -> httpx.Response:
        answer = self.http.request(method, f"/admin/realms/{self.name}{path}", json=json)
        if answer.status_code == 401:  # its tokens live a minute
            self.login()
            answer = self.http.request(method, f"/admin/realms/{self.name}{path}", json=json)
        return answer.raise_for_status()

    def get(self, path: str) -> Any:
        return self.call("GET", path).json()

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{self.name}"

    def user(self, username: str) -> str:
        """The external id of somebody."""
        return str(self.get(f"/users?username={username}&exact=true")[0]["id"])

    def roles(self, user: str) -> set[str]:
        """The roles of client stint that this user holds directly, by name."""
        return {role["name"] for role in self.get(f"/users/{user}/role-mappings/clients/{self.stint}")}

    def realm_roles(self, user: str) -> set[str]:
        return {role["name"] for role in self.get(f"/users/{user}/role-mappings/realm")}

    def make(self, name: str, client: str = "") -> dict[str, Any]:
        """A role of the realm, or of a client by its uuid."""
        base = f"/clients/{client}/roles" if client else "/roles"
        self.call("POST", base, {"name": name})
        return next(role for role in self.get(f"{base}?first=0&max=1000") if role["name"] == name)

    def map(self, user: str, role: dict[str, Any], client: str = "") -> None:
        path = f"clients/{client}" if client else "realm"
        body = [{"id": role["id"], "name": role["name"]}]
        self.call("POST", f"/users/{user}/role-mappings/{path}", body)

    def compose(self, role: dict[str, Any], *children: dict[str, Any]) -> None:
        body = [{"id": child["id"], "name": child["name"]} for child in children]
        self.call("POST", f"/roles-by-id/{role['id']}/composites", body)

    def management_role(self, name: str) -> dict[str, Any]:
        role: dict[str, Any] = self.get(f"/clients/{self.management}/roles/{name}")
        return role

    def drop(self) -> None:
        self.call("DELETE", "")
        self.http.close()


def adapter(realm: Realm, **options: Any) -> Keycloak:
    """Ours, as it would be set up for this realm."""
    return Keycloak(realm.url, realm.name, client_id="stint-provisioner", secret=realm.provisioner_secret, **options)


@pytest.fixture(scope="session")
def keycloak() -> Iterator[str]:
    """The address of a real Keycloak."""
    if given := os.environ.get("KEYCLOAK_URL"):
        yield given.rstrip("/")
        return
    with tempfile.TemporaryDirectory(prefix="stint-keycloak-") as folder:
        running = server.Keycloak(Path(folder))
        try:
            running.start()
        except EmbeddedError as error:
            missing(f"Keycloak ({error})")
        yield running.url
        running.stop()


@pytest.fixture
def realm(keycloak: str) -> Iterator[Realm]:
    one = Realm(keycloak)
    yield one
    one.drop()
