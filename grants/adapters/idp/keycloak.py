"""Keycloak, by its Admin REST API: people, groups, and the roles that Stint gives and takes.

What each call needs and answers was tried on 26.7.3 and 26.4.7 (facts: identity §2); ids and names are both
sent, and a DELETE always carries the one role that it means: without a body it would take them all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from grants.adapters.errors import AdapterError, Missing, Refused, Unavailable
from grants.adapters.http import Http
from grants.adapters.idp import keycloak_doctor
from grants.adapters.idp.base import CALL_SECONDS, DirectoryPerson, Finding
from grants.adapters.text import clean

WHO = "Keycloak"
MANAGEMENT = "realm-management"  # the client whose roles administer the realm
_TIMEOUT = httpx.Timeout(3, connect=1.5)
_EARLY = 30.0  # seconds before its end that a token is renewed
_PAGE = 200
_MOST_PAGES = 5_000
_DEEPEST = 200  # roles within a composite one; more than this can't be seen into


class _Role(NamedTuple):
    id: str
    name: str
    composite: bool
    mappings: str  # below users/{id}/role-mappings/

    @property
    def body(self) -> list[dict[str, str]]:
        return [{"id": self.id, "name": self.name}]


class Keycloak:
    """An IdP (base.py) that is a realm of a Keycloak.

    `client_id` and `secret` are of a service account in that realm; `role_client` has the roles that Stint makes.
    """

    def __init__(
        self,
        url: str,
        realm: str,
        *,
        client_id: str,
        secret: str,
        role_client: str = "stint",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.realm = realm
        self.role_client = role_client
        self.client_id = client_id
        self._secret = secret
        self._url = url
        self._transport = transport
        self._mine = threading.local()  # a client a thread is twice as fast as one for all
        self._all: list[Http] = []
        self._lock = threading.Lock()
        self._token = ("", 0.0)  # and until when, by the monotonic clock
        self._clients: dict[str, str] = {}  # client id -> uuid
        self._roles: dict[str, _Role] = {}

    def close(self) -> None:
        with self._lock:
            while self._all:
                self._all.pop().close()
        self._mine = threading.local()

    # Roles.

    def roles_of(self, external_id: str) -> frozenset[str]:
        """See base.IdP."""
        with self._within():
            answer = self._call("GET", f"users/{_q(external_id)}/role-mappings")
        try:
            held = {f"realm/{role['name']}" for role in answer.get("realmMappings", [])}
            for client, mapped in answer.get("clientMappings", {}).items():
                prefix = "" if client == self.role_client else f"client/{client}/"
                held |= {f"{prefix}{role['name']}" for role in mapped["mappings"]}
        except (AttributeError, KeyError, TypeError):
            raise _unreadable() from None
        return frozenset(held)

    def grant_role(self, external_id: str, role: str) -> None:
        """See base.IdP."""
        with self._within():
            found = self._found(role) or self._made(role)
            self._refuse_unsafe(role, found)
            self._map("POST", external_id, role, found)

    def revoke_role(self, external_id: str, role: str) -> None:
        """See base.IdP."""
        with self._within():
            found = self._roles.get(role) or self._found(role)
            if found is None:
                return  # gone, and with it from everybody
            try:
                self._map("DELETE", external_id, role, found)
            except Missing:
                # The role was made anew under its name, or the person is gone: only the first needs another call.
                again = self._found(role)
                if again is not None and again != found:
                    self._map("DELETE", external_id, role, again)

    def inspect(self, role: str) -> Finding:
        """See base.IdP."""
        with self._within():
            found = self._found(role)
            if found is None:
                own = not role.startswith(("realm/", "client/"))
                return Finding(own, f"Role {role} is not there yet.", "" if own else "Make it, or map another.")
            try:
                self._refuse_unsafe(role, found)
            except Refused as error:
                return Finding(ok=False, what=error.reason, fix="Map a role without such parts.")
            return Finding(ok=True, what=f"Role {role} is there.")

    def doctor(self) -> list[Finding]:
        """See base.IdP."""
        with self._within():
            return list(keycloak_doctor.examine(self))

    def _map(self, method: str, external_id: str, role: str, found: _Role) -> None:
        """Give or take this one role. 400, 409 and 500 may be a race with an equal call: read, and believe that."""
        try:
            self._call(method, f"users/{_q(external_id)}/role-mappings/{found.mappings}", json=found.body)
        except (Refused, Unavailable) as error:
            if error.code not in {400, 409, 500}:
                raise
            if (role in self.roles_of(external_id)) != (method == "POST"):
                raise

    def _found(self, role: str) -> _Role | None:
        """The role as it is now, or None. Raises Missing for a client that is not there."""
        kind, _, rest = role.partition("/")
        if kind == "realm" and rest:
            base, mappings, name = "roles", "realm", rest
        else:
            client, _, name = rest.partition("/") if kind == "client" and rest else (self.role_client, "", role)
            uuid = self._client(client)
            base, mappings = f"clients/{uuid}/roles", f"clients/{uuid}"
        try:
            answer = self._call("GET", f"{base}/{_q(name)}")
        except Missing:
            self._roles.pop(role, None)
            return None
        match answer:
            case {"id": str(pk), "name": str(called), "composite": bool(composite)} if called == name:
                found = self._roles[role] = _Role(pk, called, composite, mappings)
                return found
        raise _unreadable()

    def _made(self, role: str) -> _Role:
        """Make a role of Stint's own. Raises Missing for any other."""
        if role.startswith(("realm/", "client/")):
            raise Missing(f"{WHO} has no role {role}, and it is not Stint's to make.")
        body = {"name": role, "description": "Given and taken by Stint, for as long as a grant lasts."}
        try:
            self._call("POST", f"clients/{self._client(self.role_client)}/roles", json=body)
        except Refused as error:
            if error.code != 409:  # somebody was a moment faster
                raise
        found = self._found(role)
        if found is None:
            raise Unavailable(f"{WHO} took the new role {role}, but does not show it.")
        return found

    def _refuse_unsafe(self, role: str, found: _Role) -> None:
        """Whoever may give roles is nearly an admin: what reaches the realm's own administration is never given."""
        kind, _, rest = role.partition("/")
        client = rest.partition("/")[0] if kind == "client" else ""
        if client == MANAGEMENT or client.endswith("-realm") or role in {"realm/admin", "realm/create-realm"}:
            raise Refused(f"Role {role} administers {WHO} itself, so Stint does not give it.")
        if kind == "realm" and rest.startswith("default-roles-"):
            raise Refused(f"Role {role} is everybody's, so Stint neither gives nor takes it.")
        if not found.composite:
            return
        management = self._visible_management()
        for part in self._parts(role, found):
            if part.get("clientRole") and part.get("containerId") == management:
                raise Refused(f"Role {role} contains {part.get('name')} of {MANAGEMENT}, so Stint does not give it.")

    def _visible_management(self) -> str:
        """The uuid of realm-management. Without the right to see clients, Keycloak hides their roles in composites."""
        try:
            return self._client(MANAGEMENT)
        except AdapterError as error:
            if isinstance(error, Unavailable):
                raise
            raise Refused("The role has parts that Stint can't see, so it does not give it.", error.code) from None

    def _parts(self, role: str, found: _Role) -> Iterator[Mapping[str, Any]]:
        """All that a composite role contains, however deep. Raises Refused where it can't be seen to the end."""
        seen, left = {found.id}, [found.id]
        while left:
            parts = self._call("GET", f"roles-by-id/{_q(left.pop())}/composites")
            if not isinstance(parts, list) or not parts or len(seen) + len(parts) > _DEEPEST:
                raise Refused(f"Role {role} has parts that Stint can't see, so it does not give it.")
            for part in parts:
                yield part
                if part.get("composite") and part["id"] not in seen:
                    left.append(part["id"])
                seen.add(part["id"])

    def _client(self, client_id: str) -> str:
        """The uuid of a client. Raises Missing."""
        if client_id not in self._clients:
            answer = self._call("GET", "clients", params={"clientId": client_id})
            named = [each for each in answer if each.get("clientId") == client_id]
            if len(named) != 1:
                raise Missing(f"{WHO} shows Stint no client {client_id}.")
            self._clients[client_id] = named[0]["id"]
        return self._clients[client_id]

    # People.

    def people(self) -> list[DirectoryPerson]:
        """See base.Directory. Groups are full paths without the first slash, as sign-in has them."""
        groups: dict[str, set[str]] = {}
        for group in self._groups("groups"):
            for member in self._pages(f"groups/{_q(group['id'])}/members", briefRepresentation="true"):
                groups.setdefault(member["id"], set()).add(clean(group["path"].removeprefix("/"), 200))
        people: dict[str, DirectoryPerson] = {}
        for user in self._pages("users", briefRepresentation="true"):
            person = _person(user, groups)
            if people.setdefault(person.external_id, person) is not person:
                raise Unavailable(f"{WHO} listed one person twice: its list changed while it was read.")
        return list(people.values())

    def _groups(self, path: str) -> Iterator[Mapping[str, Any]]:
        for group in self._pages(path, briefRepresentation="true"):
            yield group
            if group.get("subGroupCount", 1):
                yield from self._groups(f"groups/{_q(group['id'])}/children")

    def _pages(self, path: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """Every row, a page at a time, to the first page that is not full."""
        for page in range(_MOST_PAGES):
            with self._within():
                rows = self._call("GET", path, params={**query, "first": page * _PAGE, "max": _PAGE})
            if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
                raise _unreadable()
            yield from rows
            if len(rows) < _PAGE:
                return
        raise Unavailable(f"{WHO} lists {path} without end.")

    # Calls.

    def _within(self) -> _Deadline:
        """All calls of this block together end within CALL_SECONDS."""
        return _Deadline(self._mine)

    def _call(self, method: str, path: str, **content: Any) -> Any:
        """One call to the admin API, with a token that is renewed once if it is refused."""
        token = self.token()
        try:
            return self._send(method, path, token, content)
        except Refused as error:
            if error.code != 401:
                raise
        return self._send(method, path, self.token(instead_of=token), content)

    def _send(self, method: str, path: str, token: str, content: Mapping[str, Any]) -> Any:
        left = getattr(self._mine, "deadline", time.monotonic() + CALL_SECONDS) - time.monotonic()
        if left <= 0:
            raise Unavailable(f"{WHO} is too slow.")
        timeout = httpx.Timeout(min(3.0, left), connect=min(1.5, left))
        headers = {"Authorization": f"Bearer {token}"}
        return self._http().send(
            method, f"admin/realms/{_q(self.realm)}/{path}", headers=headers, timeout=timeout, **content
        )

    def _http(self) -> Http:
        http: Http | None = getattr(self._mine, "http", None)
        if http is None:
            http = Http(self._url, who=WHO, transport=self._transport, timeout=_TIMEOUT, tries=1, answer_seconds=3)
            self._mine.http = http
            with self._lock:
                self._all.append(http)
        return http

    def token(self, *, instead_of: str = "") -> str:
        """An access token of our service account, shared by all threads. Raises Refused or Unavailable."""
        with self._lock:
            token, until = self._token
            if token and token != instead_of and time.monotonic() < until:
                return token
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self._secret}
        begun = time.monotonic()
        path = f"realms/{_q(self.realm)}/protocol/openid-connect/token"
        try:
            answer = self._http().send("POST", path, data=form)
        except Missing:
            raise Refused(f"{WHO} has no realm {self.realm} at this address.", 404) from None
        match answer:
            case {"access_token": str(token), "expires_in": int(seconds)} if token.isascii() and token.isprintable():
                with self._lock:
                    self._token = (token, begun + seconds - _EARLY)
                return token
        raise _unreadable()


class _Deadline:
    """The outermost block of a thread says when its calls must be over."""

    def __init__(self, mine: threading.local) -> None:
        self.mine = mine

    def __enter__(self) -> None:
        self.outer = getattr(self.mine, "deadline", None)
        if self.outer is None:
            self.mine.deadline = time.monotonic() + CALL_SECONDS

    def __exit__(self, *_: object) -> None:
        if self.outer is None:
            del self.mine.deadline


def _q(part: str) -> str:
    return quote(part, safe="")


def _person(user: Mapping[str, Any], groups: Mapping[str, set[str]]) -> DirectoryPerson:
    match user:
        case {"id": str(pk), "username": str(username), "enabled": bool(enabled)} if pk == clean(pk, 255) != "":
            name = " ".join(part for key in ("firstName", "lastName") if isinstance(part := user.get(key), str))
            email = user.get("email")
            return DirectoryPerson(
                external_id=pk,
                username=clean(username, 200),
                name=clean(name or username, 200),
                email=clean(email, 254) if isinstance(email, str) else "",
                enabled=enabled,
                groups=tuple(sorted(groups.get(pk, ()))),
            )
    raise _unreadable()


def _unreadable() -> Unavailable:
    return Unavailable(f"{WHO} sent an answer that Stint cannot read.")
