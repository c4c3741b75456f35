"""The identity provider, as sign-in talks to it: discovery, keys, token, userinfo. Never hangs, never trusts."""

from __future__ import annotations

import time
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx

KEYS_SECONDS = 3600  # how long keys and discovery are believed
RELOAD_SECONDS = 30  # least time between two loads that unknown key ids cause
PROBE_SECONDS = 30  # how long an answer to "are you there?" is believed
ANSWER_MAX = 512 * 1024  # bytes

_TIMEOUT = httpx.Timeout(5, connect=2)


class SignInRefused(Exception):
    """Nobody is signed in; `code` says why, for the log and the page."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Provider:
    """One OpenID provider, its discovery document and keys kept for an hour. Thread-safe."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)
        self._lock = Lock()
        self._discovery: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None
        self._probe: tuple[float, bool] | None = None

    def endpoint(self, name: str) -> str:
        """The address that discovery gives for `name`, "authorization_endpoint" and the like. Raises SignInRefused."""
        url = self.discovery().get(name)
        if not isinstance(url, str) or not url:
            raise SignInRefused("PROVIDER_ANSWER", f"discovery names no {name}")
        wanted = urlsplit(self.issuer).scheme
        if urlsplit(url).scheme not in ("https", wanted):
            raise SignInRefused("PROVIDER_ANSWER", f"{name} is not https")
        return url

    def discovery(self) -> dict[str, Any]:
        """The discovery document, whose issuer is the one we were told. Raises SignInRefused."""
        kept = self._discovery
        if kept and time.monotonic() - kept[0] < KEYS_SECONDS:
            return kept[1]
        document = self._json("GET", f"{self.issuer}/.well-known/openid-configuration")
        if str(document.get("issuer", "")).rstrip("/") != self.issuer:
            raise SignInRefused("ISS_MISMATCH", "discovery speaks for another issuer")
        self._discovery = (time.monotonic(), document)
        return document

    @property
    def issuer_in_tokens(self) -> str:
        """The issuer, letter by letter as the provider writes it (a trailing slash, say)."""
        return str(self.discovery()["issuer"])

    def keys(self, *, reload: bool = False) -> list[dict[str, Any]]:
        """The provider's public keys; `reload` when a token names an unknown one, at most every 30 s."""
        with self._lock:
            age = time.monotonic() - self._keys[0] if self._keys else float("inf")
            if self._keys and age < (RELOAD_SECONDS if reload else KEYS_SECONDS):
                return self._keys[1]
            found = self._json("GET", self.endpoint("jwks_uri")).get("keys")
            if not isinstance(found, list) or not all(isinstance(key, dict) for key in found):
                raise SignInRefused("PROVIDER_ANSWER", "no keys in the key set")
            self._keys = (time.monotonic(), found)
            return found

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Exchange the code. Raises SignInRefused."""
        return self._json("POST", self.endpoint("token_endpoint"), data=form)

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """What the provider says of the person, as JSON; a signed answer was not asked for and is refused."""
        bearer = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        return self._json("GET", self.endpoint("userinfo_endpoint"), headers=bearer)

    def answers(self) -> bool:
        """Is it there? Asked with a short time-out, and believed for half a minute."""
        kept = self._probe
        if kept and time.monotonic() - kept[0] < PROBE_SECONDS:
            return kept[1]
        try:
            url = f"{self.issuer}/.well-known/openid-configuration"
            there = self._http.get(url, timeout=0.4).status_code == httpx.codes.OK
        except httpx.HTTPError:
            there = False
        self._probe = (time.monotonic(), there)
        return there

    def _json(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        deadline = time.monotonic() + 10  # a trickle of bytes must not hold a thread
        try:
            with self._http.stream(method, url, **options) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > ANSWER_MAX or time.monotonic() > deadline:
                        raise SignInRefused("PROVIDER_ANSWER", f"{urlsplit(url).path}: too large or too slow")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SignInRefused("PROVIDER_DOWN", f"{urlsplit(url).path}: {type(error).__name__}") from error
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise SignInRefused("PROVIDER_DOWN", f"{urlsplit(url).path}: {response.status_code}")
        if response.status_code != httpx.codes.OK:
            raise SignInRefused("PROVIDER_REFUSED", f"{urlsplit(url).path}: {response.status_code}")
        try:
            answer = httpx.Response(200, content=body).json()
        except (ValueError, RecursionError) as error:
            raise SignInRefused("PROVIDER_ANSWER", f"{urlsplit(url).path}: not JSON") from error
        if not isinstance(answer, dict):
            raise SignInRefused("PROVIDER_ANSWER", f"{urlsplit(url).path}: no object")
        return answer
