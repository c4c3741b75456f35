"""The two identity providers that the demo can run on: its own, and a real Keycloak."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import httpx
import yaml

from portal.demo import keycloak
from portal.demo.process import Parts, answers, base_env
from portal.demo.realm import PASSWORD, realm
from portal.embedded import EmbeddedError

CAST = Path(__file__).resolve().parent / "provider" / "cast.yaml"
REALM = "stint"

type Secrets = Mapping[str, str]


class Told(NamedTuple):
    """The lines that a provider adds to the text at the end of a start."""

    addresses: str = ""
    passwords: str = ""
    to_try: str = ""


class DemoIdp(Protocol):
    """An identity provider of the demo. `slug` is its name in Stint's database and in the policy."""

    slug: ClassVar[str]
    folder: ClassVar[str]  # where the demo's data is by default
    make: ClassVar[str]  # the argument of make besides the target

    def __init__(self, folder: Path, port: int, portal: str) -> None: ...
    def fetch(self) -> None:
        """Fetch what is missing, before any part is started. Raises EmbeddedError."""

    def start(self, parts: Parts, secrets: Secrets) -> None: ...
    def wait(self, parts: Parts, secrets: Secrets) -> None:
        """Wait until people can sign in. Raises EmbeddedError."""

    def settings(self) -> dict[str, str]:
        """Stint's settings for this provider."""

    def told(self) -> Told: ...


class DemoProvider:
    """portal.demo.provider: needs no password and no Java, and starts in a second."""

    slug: ClassVar = "demo"
    folder: ClassVar = ".stint"
    make: ClassVar = ""

    def __init__(self, folder: Path, port: int, portal: str) -> None:
        self.here, self.port, self.portal = folder, port, portal
        self.url = f"http://127.0.0.1:{port}"

    def fetch(self) -> None:
        """See DemoIdp. There is nothing to fetch."""

    def start(self, parts: Parts, secrets: Secrets) -> None:
        """See DemoIdp."""
        env = base_env() | {
            "STINT_DEMO_DIR": str(self.here),
            "STINT_DEMO_OIDC_PORT": str(self.port),
            "STINT_DEMO_PORTAL_URL": self.portal,
            "STINT_DEMO_DIRECTORY_SECRET": secrets["directory"],
            "STINT_DEMO_CLIENT_SECRET": secrets["client"],
            "STINT_DEMO_PROVIDER_KEY": secrets["provider_key"],
        }
        parts.start("provider", [sys.executable, "-m", "portal.demo.provider"], env)

    def wait(self, parts: Parts, secrets: Secrets) -> None:  # noqa: ARG002 (see DemoIdp)
        parts.wait("provider", answers(f"{self.url}/o/.well-known/openid-configuration"))

    def settings(self) -> dict[str, str]:
        """See DemoIdp."""
        return {
            "STINT_OIDC_ISSUER": f"{self.url}/o",
            "STINT_OIDC_SCOPES": "openid profile email groups",
            "STINT_IDP_ADMIN_URL": self.url,
        }

    def told(self) -> Told:
        return Told()


class KeycloakProvider:
    """A real Keycloak (keycloak.py) with the realm of realm.py. A restart keeps the realm."""

    slug: ClassVar = "keycloak"
    folder: ClassVar = ".stint-keycloak"
    make: ClassVar = " KEYCLOAK=1"

    def __init__(self, folder: Path, port: int, portal: str) -> None:
        self.portal = portal
        self.server = keycloak.Keycloak(folder / "keycloak", port)

    def fetch(self) -> None:
        """See DemoIdp."""
        self.server.prepare()

    def start(self, parts: Parts, secrets: Secrets) -> None:  # noqa: ARG002 (see DemoIdp)
        parts.start("keycloak", self.server.command(), keycloak.environment() | keycloak.QUICK)

    def wait(self, parts: Parts, secrets: Secrets) -> None:
        """See DemoIdp. Also waits until the realm exists and has the portal's present address."""
        parts.wait("keycloak", self.server.ready, keycloak.READY_SECONDS)
        try:
            with httpx.Client(base_url=self.server.url, timeout=30, trust_env=False) as http:
                self._realm(http, secrets)
        except httpx.HTTPError as error:
            raise EmbeddedError(f"Keycloak did not take the realm {REALM}: {error}") from error

    def _realm(self, http: httpx.Client, secrets: Secrets) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli",
                "username": keycloak.ADMIN, "password": keycloak.ADMIN}  # fmt: skip
        token = http.post("/realms/master/protocol/openid-connect/token", data=form).raise_for_status()
        http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        wanted = realm(
            REALM,
            portal=self.portal,
            client_secret=secrets["client"],
            provisioner_secret=secrets["directory"],
            people=yaml.safe_load(CAST.read_text(encoding="utf-8")),
        )
        if http.get(f"/admin/realms/{REALM}").status_code == httpx.codes.NOT_FOUND:
            http.post("/admin/realms", json=wanted).raise_for_status()
            return
        base = f"/admin/realms/{REALM}/clients"
        for client in wanted[
            "clients"
        ]:  # ports and secrets are those of this start; the rest stays as its admin left it
            (known,) = http.get(base, params={"clientId": client["clientId"]}).raise_for_status().json()
            ours = {name: client[name] for name in ("secret", "redirectUris", "attributes") if name in client}
            http.put(f"{base}/{known['id']}", json={"clientId": client["clientId"], **ours}).raise_for_status()

    def settings(self) -> dict[str, str]:
        """See DemoIdp."""
        return {"STINT_OIDC_ISSUER": f"{self.server.url}/realms/{REALM}", "STINT_OIDC_SCOPES": "openid profile email"}

    def told(self) -> Told:
        return Told(
            addresses=f"\nKeycloak   {self.server.url}/admin/master/console/#/{REALM}"
            f"  (its admin: {keycloak.ADMIN}, password {keycloak.ADMIN})",
            passwords=f"Everybody's password is {PASSWORD}.\n",
            to_try="\n  6. At Keycloak: Users, ada, Role mapping. She has what was approved, until it is over.",
        )


def chosen() -> type[DemoIdp]:
    """The provider that STINT_DEMO_KEYCLOAK asks for."""
    return KeycloakProvider if os.environ.get("STINT_DEMO_KEYCLOAK", "") not in ("", "0") else DemoProvider
