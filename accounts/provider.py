"""The calls of sign-in to the identity provider (discovery, keys, token, userinfo), with a time limit and checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from grants.adapters.errors import AdapterError, Missing, Refused, Unreadable
from grants.adapters.http import Http

KEYS_SECONDS = 3600  # for which keys and discovery are reused
RELOAD_SECONDS = 30  # at least, between two loads that unknown key ids cause
TURN_SECONDS = 10.0  # for all calls of one sign-in together
PROBE_SECONDS = 30  # for which the result of a probe is reused
PROBE_ANSWER = 0.4  # seconds that a probe may take
ANSWER_MAX = 512 * 1024  # bytes
URL_MAX = 2000

_TIMEOUT = httpx.Timeout(5, connect=2, pool=0.5)
_DISCOVERY = ".well-known/openid-configuration"


class SignInRefused(Exception):
    """The sign-in is refused; `code` is the reason, for the log and the page."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Provider:
    """One OpenID provider; its discovery document and keys are kept for an hour. Thread-safe.

    At most `places` threads wait for it at once, so that the others serve other pages when it is slow.
    """

    def __init__(self, issuer: str, *, places: int) -> None:
        self.issuer = issuer
        self._http = Http(
            issuer,
            who="The identity provider",
            answer_seconds=TURN_SECONDS,
            answer_bytes=ANSWER_MAX,
            timeout=_TIMEOUT,
            tries=1,
            connections=places + 1,  # one more for the probe, which takes no place
        )
        self._places = threading.BoundedSemaphore(places)
        self._mine = threading.local()
        self._loading = threading.RLock()
        self._kept: dict[str, tuple[float, Any]] = {}  # when it was loaded, and what
        self._probing = threading.Lock()
        self._probe = (float("-inf"), False)

    def close(self) -> None:
        self._http.close()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a place, and limit all calls in this block together. Raises SignInRefused when no place is free."""
        if self._until is not None:  # in a turn already
            yield
            return
        if not self._places.acquire(blocking=False):
            raise SignInRefused("PROVIDER_BUSY", "as many wait for it as may")
        self._mine.until = time.monotonic() + TURN_SECONDS
        try:
            yield
        finally:
            self._mine.until = None
            self._places.release()

    @property
    def _until(self) -> float | None:
        until: float | None = getattr(self._mine, "until", None)
        return until

    def _left(self) -> float:
        return max(0.0, (self._until or 0.0) - time.monotonic())

    def endpoint(self, name: str) -> str:
        """Return the address in discovery for `name`, such as "authorization_endpoint". Raises SignInRefused."""
        url = self.discovery().get(name)
        if not isinstance(url, str) or not url:
            raise SignInRefused("PROVIDER_ANSWER", f"discovery names no {name}")
        if not _usable(url):
            raise SignInRefused("PROVIDER_ANSWER", f"{name} is no address")
        wanted = urlsplit(self.issuer).scheme
        if urlsplit(url).scheme not in ("https", wanted):
            raise SignInRefused("PROVIDER_ANSWER", f"{name} is not https")
        return url

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document, whose issuer is that of the settings. Raises SignInRefused."""
        document: dict[str, Any] = self._current("discovery", KEYS_SECONDS, self._load_discovery)
        return document

    def _load_discovery(self) -> dict[str, Any]:
        document = self._json("GET", f"{self.issuer}/{_DISCOVERY}")
        if document.get("issuer") not in (self.issuer, f"{self.issuer}/"):
            raise SignInRefused("ISS_MISMATCH", "discovery speaks for another issuer")
        return document

    @property
    def issuer_in_tokens(self) -> str:
        """The issuer exactly as the provider writes it, for example with a trailing slash."""
        return str(self.discovery()["issuer"])

    def keys(self, *, reload: bool = False) -> list[dict[str, Any]]:
        """Return the provider's public keys. `reload` loads them again for an unknown key id, at most every 30 s."""
        found: list[dict[str, Any]] = self._current(
            "keys", RELOAD_SECONDS if reload else KEYS_SECONDS, self._load_keys, old_will_do=not reload
        )
        return found

    def _load_keys(self) -> list[dict[str, Any]]:
        found = self._json("GET", self.endpoint("jwks_uri")).get("keys")
        if not isinstance(found, list) or not all(isinstance(key, dict) for key in found):
            raise SignInRefused("PROVIDER_ANSWER", "no keys in the key set")
        return found

    def _current(self, what: str, seconds: float, load: Callable[[], Any], *, old_will_do: bool = True) -> Any:
        """Return the kept value if it is not older than this; otherwise one thread loads it.

        Other threads meanwhile use the old value if it is good enough, or wait for that thread within their own turn.
        """

        def kept() -> tuple[float, Any] | None:
            found = self._kept.get(what)
            return found if found and time.monotonic() - found[0] < seconds else None

        if found := kept():
            return found[1]
        with self.turn():
            old = self._kept.get(what) if old_will_do else None
            if not self._loading.acquire(timeout=0 if old else self._left()):
                if old:
                    return old[1]
                raise SignInRefused("PROVIDER_DOWN", f"{what}: too slow")
            try:
                if found := kept():  # another thread loaded it
                    return found[1]
                self._kept[what] = (time.monotonic(), load())
                return self._kept[what][1]
            finally:
                self._loading.release()

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Exchange the code for tokens. Raises SignInRefused."""
        return self._json("POST", self.endpoint("token_endpoint"), data=form)

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the userinfo of the person, as JSON; a signed answer is refused, because Stint asks for none."""
        bearer = {"Authorization": f"Bearer {access_token}"}
        return self._json("GET", self.endpoint("userinfo_endpoint"), headers=bearer)

    def answers(self) -> bool:
        """Does the provider answer? One thread asks, for a moment; the others use the last result for half a minute."""
        at, there = self._probe
        if time.monotonic() - at < PROBE_SECONDS or not self._probing.acquire(blocking=False):
            return there
        try:
            self._http.send("GET", _DISCOVERY, seconds=PROBE_ANSWER)
            there = True
        except AdapterError:
            there = False
        finally:
            self._probing.release()
        self._probe = (time.monotonic(), there)
        return there

    def _json(self, method: str, url: str, **content: Any) -> dict[str, Any]:
        path = urlsplit(url).path
        with self.turn():
            left = self._left()
            if not left:
                raise SignInRefused("PROVIDER_DOWN", f"{path}: too slow")
            try:
                answer = self._http.send(method, url, seconds=left, **content)
            except AdapterError as error:
                raise SignInRefused(_code(error), f"{path}: {error.reason}") from error
        if not isinstance(answer, dict):
            raise SignInRefused("PROVIDER_ANSWER", f"{path}: no object")
        return answer


def _code(error: AdapterError) -> str:
    match error:
        case Unreadable():
            return "PROVIDER_ANSWER"
        case Missing() | Refused():
            return "PROVIDER_REFUSED"
    return "PROVIDER_DOWN"


def _usable(url: str) -> bool:
    """Is this an absolute address that can be called, that a header can hold, and that all parsers read alike?"""
    try:
        parts = urlsplit(url)
        return (
            len(url) <= URL_MAX
            and url.isascii()
            and url.isprintable()
            and not set(url) & set(' \\"<>#')
            and "@" not in parts.netloc
            and parts.port != 0
            and bool(httpx.URL(url).host.encode("idna"))  # no label is empty or too long
        )
    except (ValueError, httpx.InvalidURL):
        return False
