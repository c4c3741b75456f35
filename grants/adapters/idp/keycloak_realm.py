"""Calls to the admin API of one Keycloak realm: with Stint's token, a deadline, and complete lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from grants.adapters.errors import Missing, Refused, Unavailable
from grants.adapters.http import Http
from grants.adapters.idp.base import CALL_SECONDS

WHO = "Keycloak"
MANAGEMENT = "realm-management"  # the client whose roles administer the realm
_TIMEOUT = httpx.Timeout(3, connect=1.5)
_EARLY = 30.0  # seconds before a token expires, at which it is renewed
_CLIENT_SECONDS = 60.0  # for which the uuid of a client is reused; later its name may belong to another client
_PAGE = 200
_MOST_PAGES = 5_000


class Realm:
    """A realm. `client_id` and `secret` belong to a service account in it. Safe to use from several threads at once."""

    def __init__(
        self, url: str, name: str, *, client_id: str, secret: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.name = name
        self.client_id = client_id
        self._secret = secret
        self._url = url
        self._transport = transport
        self._mine = threading.local()  # one HTTP client for each thread is twice as fast as a shared one
        self._all: list[Http] = []
        self._lock = threading.Lock()
        self._token = ("", 0.0)  # the token, and until when it is used, by the monotonic clock
        self._whole = False, 0.0  # do lists show all people, and until when is that reused
        self._clients: dict[str, tuple[str, float]] = {}  # client id -> uuid, and until when it is reused

    def close(self) -> None:
        with self._lock:
            while self._all:
                self._all.pop().close()
        self._mine = threading.local()

    def within(self) -> _Deadline:
        """Limit all calls of this block together to CALL_SECONDS."""
        return _Deadline(self._mine)

    def call(self, method: str, path: str, **content: Any) -> Any:
        """Call the admin API; if it refuses the token, renew the token and call once more."""
        if method == "DELETE" and not content.get("json"):
            raise ValueError("without a body it would take every role")
        token = self.token()
        try:
            return self._send(method, path, token, content)
        except Refused as error:
            if error.code != 401:
                raise
        return self._send(method, path, self.token(instead_of=token), content)

    def rows(self, path: str, **query: str | int) -> list[dict[str, Any]]:
        """Return a list of objects with an id. Raises Unavailable for any other answer."""
        rows = self.call("GET", path, params=query)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows
        ):
            raise unreadable()
        return rows

    def pages(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield every row, page by page, up to the first page that is not full.

        Each page begins with the last row of the page before. If a person is added or deleted meanwhile, the rows
        shift and one could be skipped, which would look like a person who left: then raise Unavailable.
        """
        last = ""
        for page in range(_MOST_PAGES):
            with self.within():
                rows = self.rows(path, **query, first=page * (_PAGE - 1), max=_PAGE)
            if last and (not rows or rows[0]["id"] != last):
                raise Unavailable(f"{WHO}'s list of {path} changed while it was read.")
            yield from rows[1:] if last else rows
            if len(rows) < _PAGE:
                return
            last = rows[-1]["id"]
        raise Unavailable(f"{WHO} lists {path} without end.")

    def shows_all(self) -> bool:
        """Do lists show all people? With fine-grained permissions they leave out people whom Stint may not see.

        Checked once a minute. When Stint's account may not read the setting, the answer is no.
        """
        whole, until = self._whole
        if time.monotonic() > until:
            answer = self.call("GET", "")
            whole = isinstance(answer, dict) and answer.get("adminPermissionsEnabled") is False
            self._whole = whole, time.monotonic() + _CLIENT_SECONDS
        return whole

    def client(self, client_id: str, *, fresh: bool = False) -> str:
        """Return the uuid of a client, from memory for up to a minute unless `fresh`. Raises Missing."""
        uuid, until = self._clients.get(client_id, ("", 0.0))
        if fresh or time.monotonic() > until:
            named = [row for row in self.rows("clients", clientId=client_id) if row.get("clientId") == client_id]
            if len(named) != 1:
                raise Missing(f"{WHO} shows Stint no client {client_id}.")
            uuid = named[0]["id"]
            self._clients[client_id] = uuid, time.monotonic() + _CLIENT_SECONDS
        return uuid

    def _send(self, method: str, path: str, token: str, content: Mapping[str, Any]) -> Any:
        left = self._left()
        headers = {"Authorization": f"Bearer {token}"}
        path = f"admin/realms/{q(self.name)}/{path}".rstrip("/")
        try:
            return self._http().send(method, path, headers=headers, seconds=left, **content)
        except Refused as error:
            if error.code != 403:
                raise
            raise Refused(
                f"{WHO} says that Stint's account lacks the right for this (403); `manage.py idp doctor` names it.", 403
            ) from None

    def _left(self) -> float:
        left: float = getattr(self._mine, "deadline", time.monotonic() + CALL_SECONDS) - time.monotonic()
        if left <= 0:
            raise Unavailable(f"{WHO} is too slow.")
        return left

    def _http(self) -> Http:
        http: Http | None = getattr(self._mine, "http", None)
        if http is None:
            http = Http(self._url, who=WHO, transport=self._transport, timeout=_TIMEOUT, tries=1, answer_seconds=3)
            self._mine.http = http
            with self._lock:
                self._all.append(http)
        return http

    def token(self, *, instead_of: str = "") -> str:
        """Return an access token of our service account, shared by all threads. Raises Refused or Unavailable."""
        with self._lock:
            token, until = self._token
            if token and token != instead_of and time.monotonic() < until:
                return token
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self._secret}
        begun = time.monotonic()
        path = f"realms/{q(self.name)}/protocol/openid-connect/token"
        try:
            answer = self._http().send("POST", path, data=form, seconds=self._left())
        except (Missing, Refused) as error:
            raise Refused(self._no_token(error), error.code) from None
        match answer:
            case {"access_token": str(token), "expires_in": int(seconds)} if token.isascii() and token.isprintable():
                with self._lock:
                    self._token = (token, begun + seconds - _EARLY)
                return token
        raise unreadable()

    def _no_token(self, error: Missing | Refused) -> str:
        """The error for a token that Keycloak did not give, with the settings to check: one code has several causes."""
        match error.code, error.said:
            case 404, _:
                return f"{WHO} has no realm {self.name} at this address: look at STINT_OIDC_ISSUER."
            case 403, _:
                return f"{WHO}'s realm {self.name} is switched off."
            case _, "invalid_client":
                return (
                    f"{WHO} knows no client {self.client_id}, or it is switched off: look at STINT_IDP_ADMIN_CLIENT_ID."
                )
            case _, "unauthorized_client":
                return (
                    f"{WHO} does not take the secret of {self.client_id}, or that client has no service account:"
                    " look at STINT_IDP_ADMIN_SECRET_REF."
                )
            case _, "invalid_request":
                return f"The service account of {self.client_id} is switched off at {WHO}."
        return error.reason


class _Deadline:
    """The deadline of a thread's calls, set by its outermost block."""

    def __init__(self, mine: threading.local) -> None:
        self.mine = mine

    def __enter__(self) -> None:
        self.outer = getattr(self.mine, "deadline", None)
        if self.outer is None:
            self.mine.deadline = time.monotonic() + CALL_SECONDS

    def __exit__(self, *_: object) -> None:
        if self.outer is None:
            del self.mine.deadline


def q(part: str) -> str:
    return quote(part, safe="")


def unreadable() -> Unavailable:
    return Unavailable(f"{WHO} sent an answer that Stint cannot read.")
