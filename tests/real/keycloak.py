"""A real Keycloak for tests, judged by an admin client that shares nothing with our adapter.

Ask for the fixture `keycloak`, or `realm` for one of your own. One server serves all workers of a run: the first
one that needs it starts it, the last one out stops it. KEYCLOAK_URL (with the bootstrap admin) takes one that runs.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import secrets
import tempfile
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from grants.adapters.idp.keycloak import KeycloakAdapter
from portal.demo import keycloak as server
from portal.demo.realm import PASSWORD
from portal.demo.realm import realm as realm_json
from portal.embedded import EmbeddedError
from tests.real.prefect import missing

PORTAL = "http://127.0.0.1:8000"
_CAST = Path(server.__file__).parent / "provider" / "cast.yaml"


class Admin:
    """A realm as its admin sees it: plain httpx, the bootstrap admin, nothing of ours."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.http = httpx.Client(base_url=url, timeout=60)  # the first call of a cold server on a busy machine
        self.login()

    @cached_property
    def stint(self) -> str:
        return str(self.get("/clients?clientId=stint")[0]["id"])

    @cached_property
    def management(self) -> str:
        return str(self.get("/clients?clientId=realm-management")[0]["id"])

    @cached_property
    def provisioner(self) -> str:
        return str(self.get("/clients?clientId=stint-provisioner")[0]["id"])

    @cached_property
    def account(self) -> str:
        """The user that the provisioner is."""
        return str(self.get(f"/clients/{self.provisioner}/service-account-user")["id"])

    def login(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": server.ADMIN, "password": server.ADMIN}
        answer = self.http.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = self.http.request(method, f"/admin/realms/{self.name}{path}", json=body)
        if answer.status_code == 401:  # its tokens live a minute
            self.login()
            answer = self.http.request(method, f"/admin/realms/{self.name}{path}", json=body)
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


class Realm(Admin):
    """A realm of one test, made and dropped by it."""

    def __init__(self, url: str, *, portal: str = PORTAL, **options: Any) -> None:
        super().__init__(url, f"r{uuid.uuid4().hex[:10]}")
        self.client_secret = secrets.token_urlsafe(24)
        self.provisioner_secret = secrets.token_urlsafe(24)
        people = options.pop("people", None) or yaml.safe_load(_CAST.read_text(encoding="utf-8"))
        body = realm_json(
            self.name,
            portal=portal,
            client_secret=self.client_secret,
            provisioner_secret=self.provisioner_secret,
            people=people,
            **options,
        )
        self.http.post("/admin/realms", json=body).raise_for_status()

    def drop(self) -> None:
        self.call("DELETE", "")
        self.http.close()


class Told(NamedTuple):
    """What Keycloak says of somebody at their sign-in."""

    id_token: dict[str, Any]  # its claims
    userinfo: dict[str, Any]


def sign_in(issuer: str, *, secret: str, portal: str, username: str, password: str = PASSWORD) -> Told:
    """Sign in as the client `stint` does, without it: the login page, the code, the tokens."""
    oidc, callback = f"{issuer}/protocol/openid-connect", f"{portal}/oidc/callback"
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with httpx.Client(timeout=30) as http:

        def plain(_: httpx.Response) -> None:
            for cookie in http.cookies.jar:
                cookie.secure = False  # Keycloak says Secure on http, too, and the jar would not send them back

        http.event_hooks = {"response": [plain]}
        asked = {"client_id": "stint", "redirect_uri": callback, "response_type": "code", "scope": "openid",
                 "state": "s", "nonce": "n", "code_challenge": challenge, "code_challenge_method": "S256"}  # fmt: skip
        page = http.get(f"{oidc}/auth", params=asked).raise_for_status().text
        form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', page)
        assert form, page
        answer = http.post(html.unescape(form[1]), data={"username": username, "password": password})
        assert answer.status_code == 302, answer.text
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        given = http.post(f"{oidc}/token", data={
            "grant_type": "authorization_code", "client_id": "stint", "client_secret": secret, "code": code,
            "redirect_uri": callback, "code_verifier": verifier,
        }).raise_for_status().json()  # fmt: skip
        payload = given["id_token"].split(".")[1]
        bearer = {"Authorization": f"Bearer {given['access_token']}"}
        return Told(
            id_token=json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))),
            userinfo=http.get(f"{oidc}/userinfo", headers=bearer).raise_for_status().json(),
        )


def adapter(realm: Realm, **options: Any) -> KeycloakAdapter:
    """Ours, as it would be set up for this realm."""
    return KeycloakAdapter(
        realm.url, realm.name, client_id="stint-provisioner", secret=realm.provisioner_secret, **options
    )


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
