"""The demo's provider keeps the protocol: PKCE, prompt=none, refresh, sign-out, and survives a restart."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from tests.real.prefect import free_port

ROOT = Path(__file__).resolve().parents[2]
PORTAL = "http://127.0.0.1:8000"
ADA = "7c1f0a52-ada"
BEARER = {"Authorization": "Bearer directory-secret"}


class Provider:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.base = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("STINT_", "DJANGO_"))} | {
            "STINT_DEMO_DIR": str(self.folder),
            "STINT_DEMO_OIDC_PORT": str(self.port),
            "STINT_DEMO_PORTAL_URL": PORTAL,
            "STINT_DEMO_DIRECTORY_SECRET": "directory-secret",
            "STINT_DEMO_CLIENT_SECRET": "client-secret",
            "STINT_DEMO_PROVIDER_KEY": "k" * 50,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "portal.demo.provider"], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.base}/o/.well-known/openid-configuration").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail("the provider did not start")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    running = Provider(tmp_path_factory.mktemp("provider"))
    running.start()
    yield running
    running.stop()


class Flow:
    """One browser at the provider, and the client's side of the code flow."""

    def __init__(self, provider: Provider) -> None:
        self.http = httpx.Client(base_url=provider.base, follow_redirects=False, timeout=20)
        self.verifier = secrets.token_urlsafe(48)

    def ask(self, **more: str | None) -> httpx.Response:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": "stint", "redirect_uri": f"{PORTAL}/oidc/callback", "scope": "openid profile email groups",
            "state": "s", "nonce": "n", "code_challenge": challenge, "code_challenge_method": "S256", **more,
        }  # fmt: skip
        return self.http.get(
            "/o/authorize/", params={name: value for name, value in query.items() if value is not None}
        )

    def sign_in(self, sub: str = ADA) -> None:
        page = self.http.get("/signin")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        response = self.http.post("/signin", data={"sub": sub, "csrfmiddlewaretoken": token[1]})
        assert response.status_code == 302

    def token(self, **form: str) -> httpx.Response:
        return self.http.post("/o/token/", data={"client_id": "stint", "client_secret": "client-secret", **form})

    def exchange(self, code: str, **more: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{PORTAL}/oidc/callback"}
        return self.token(**form | {"code_verifier": self.verifier} | more)


@pytest.fixture
def flow(provider: Provider) -> Iterator[Flow]:
    flow = Flow(provider)
    yield flow
    flow.http.close()


def answer(response: httpx.Response) -> dict[str, str]:
    target = urlsplit(response.headers["Location"])
    assert f"{target.scheme}://{target.netloc}" == PORTAL, response.headers["Location"]
    return {name: values[0] for name, values in parse_qs(target.query).items()}


def claims(provider: Provider, response: httpx.Response) -> dict[str, object]:
    keys = jwt.PyJWKSet.from_dict(httpx.get(f"{provider.base}/o/.well-known/jwks.json").json()).keys
    found: dict[str, object] = jwt.decode(response.json()["id_token"], keys[0], ["RS256"], audience="stint")
    return found


def test_the_flow(provider: Provider, flow: Flow) -> None:
    assert flow.ask().headers["Location"].startswith("/signin?next=")
    flow.sign_in()
    given = answer(flow.ask())
    assert given["iss"] == f"{provider.base}/o"
    tokens = flow.exchange(given["code"])
    found = claims(provider, tokens)
    expected = {
        "sub": ADA,
        "nonce": "n",
        "preferred_username": "ada",
        "groups": ["team-ingest"],
        "iss": f"{provider.base}/o",
    }
    assert expected.items() <= found.items()
    assert "auth_time" in found
    info = flow.http.get("/o/userinfo/", headers={"Authorization": f"Bearer {tokens.json()['access_token']}"}).json()
    assert (info["sub"], info["groups"]) == (ADA, ["team-ingest"])
    assert flow.exchange(given["code"]).status_code == 400  # a code works once


@pytest.mark.parametrize("verifier", ["", "x" * 64])
def test_a_wrong_verifier(flow: Flow, verifier: str) -> None:
    flow.sign_in()
    assert flow.exchange(answer(flow.ask())["code"], code_verifier=verifier).status_code == 400


def test_no_pkce_no_code(flow: Flow) -> None:
    flow.sign_in()
    assert "code" not in answer(flow.ask(code_challenge=None, code_challenge_method=None))
    assert "code" not in answer(flow.ask(code_challenge_method="plain"))


def test_prompt_none(flow: Flow) -> None:
    assert answer(flow.ask(prompt="none"))["error"] == "login_required"
    flow.sign_in()
    assert "code" in answer(flow.ask(prompt="none"))


def test_prompt_login_asks_again(flow: Flow) -> None:
    flow.sign_in()
    assert flow.ask(prompt="login").headers["Location"].startswith("/signin?next=")


def test_a_redirect_elsewhere(flow: Flow) -> None:
    flow.sign_in()
    response = flow.ask(redirect_uri="http://127.0.0.1:6666/steal")
    assert response.status_code == 400
    assert "Location" not in response.headers


def test_roles_arrive_with_a_refresh(provider: Provider, flow: Flow) -> None:
    flow.sign_in()
    tokens = flow.exchange(answer(flow.ask())["code"])
    changed = flow.http.patch(f"/admin/users/{ADA}", json={"groups": ["team-ingest", "more"]}, headers=BEARER)
    assert changed.status_code == 200
    fresh = flow.token(grant_type="refresh_token", refresh_token=tokens.json()["refresh_token"])
    assert claims(provider, fresh)["groups"] == ["team-ingest", "more"]
    flow.http.patch(f"/admin/users/{ADA}", json={"groups": ["team-ingest"]}, headers=BEARER)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
def test_the_directory_needs_its_secret(flow: Flow, headers: dict[str, str]) -> None:
    assert flow.http.get("/admin/users", headers=headers).status_code == 401
    assert flow.http.patch(f"/admin/users/{ADA}", json={"groups": ["stint-admins"]}, headers=headers).status_code == 401


def test_sign_out_ends_the_session(flow: Flow) -> None:
    flow.sign_in()
    tokens = flow.exchange(answer(flow.ask())["code"]).json()
    query = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": f"{PORTAL}/signin", "client_id": "stint"}
    assert flow.http.get("/o/logout/", params=query).headers["Location"] == f"{PORTAL}/signin"
    assert answer(flow.ask(prompt="none"))["error"] == "login_required"


def test_who_is_switched_off_is_out(flow: Flow) -> None:
    flow.sign_in("18e5c2b6-osc")
    flow.http.patch("/admin/users/18e5c2b6-osc", json={"enabled": False}, headers=BEARER)
    assert answer(flow.ask(prompt="none"))["error"] == "login_required"
    flow.http.patch("/admin/users/18e5c2b6-osc", json={"enabled": True}, headers=BEARER)


def test_nothing_comes_from_elsewhere(flow: Flow) -> None:
    page = flow.http.get("/signin")
    assert "http" not in page.text.replace("http-equiv", "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Ada Okafor" in page.text


def test_a_restart_keeps_people_sessions_and_keys(provider: Provider, flow: Flow) -> None:
    flow.sign_in()
    flow.http.patch(f"/admin/users/{ADA}", json={"groups": ["kept"]}, headers=BEARER)
    keys = flow.http.get("/o/.well-known/jwks.json").json()
    provider.stop()
    provider.start()
    assert flow.http.get("/o/.well-known/jwks.json").json() == keys
    found = claims(provider, flow.exchange(answer(flow.ask(prompt="none"))["code"]))
    assert found["groups"] == ["kept"]
    flow.http.patch(f"/admin/users/{ADA}", json={"groups": ["team-ingest"]}, headers=BEARER)
