"""A Keycloak in memory, as much of it as the adapter asks, with faults to order. The contract suite holds it and a
real one to the same answers; its own answers are held to Keycloak's API description like the adapter's requests."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import httpx

type Answer = httpx.Response
BASE = "/admin/realms/test/"


class Fault(NamedTuple):
    """What happens instead of the next `times` calls of this method ("": of any) whose path matches."""

    method: str
    path: str
    act: Callable[[httpx.Request], httpx.Response]
    times: int = 1


class FakeKeycloak:
    def __init__(self) -> None:
        self.clients = {name: str(uuid.uuid4()) for name in ("stint", "realm-management", "airflow")}
        self.roles: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)  # container ("" is the realm) -> name
        self.composites: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.mapped: dict[str, dict[str, set[str]]] = {}  # user -> container -> role ids
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: list[tuple[dict[str, Any], list[str]]] = []
        self.faults: list[list[Any]] = []
        self.requests: list[httpx.Request] = []
        self.exchanges: list[tuple[httpx.Request, httpx.Response]] = []
        self.tokens = 0
        self.hides_clients = False
        self.fine_grained = False  # then its lists of people leave some out
        self.secret = ""  # of Stint's account; any will do without
        self.lock = threading.Lock()

    # Making things, as an admin would.

    def user(self, username: str) -> str:
        pk = str(uuid.uuid4())
        self.users[pk] = {"id": pk, "username": username, "enabled": True, "email": f"{username}@example.org",
                          "firstName": username.title(), "lastName": "Test"}  # fmt: skip
        self.mapped[pk] = defaultdict(set)
        return pk

    def role(self, name: str, container: str = "", *parts: dict[str, Any]) -> dict[str, Any]:
        role = {"id": str(uuid.uuid4()), "name": name, "composite": bool(parts), "clientRole": bool(container),
                "containerId": container or "realm"}  # fmt: skip
        self.roles[container][name] = role
        self.composites[role["id"]] = list(parts)
        return role

    def rename(self, name: str, to: str, client: str = "stint") -> None:
        roles = self.roles[self.clients[client]]
        roles[to] = roles.pop(name)
        roles[to]["name"] = to

    def fault(
        self, method: str, path: str, act: Callable[[httpx.Request], httpx.Response] | int, times: int = 1
    ) -> None:
        status = act
        do = act if callable(act) else (lambda _request: httpx.Response(status, json={"error": "HTTP error"}))
        self.faults.append([Fault(method, path, do), times])

    # Answering.

    def transport(self) -> httpx.BaseTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            planned = next(
                (
                    f
                    for f in self.faults
                    if f[1] and f[0].method in {"", request.method} and re.search(f[0].path, request.url.path)
                ),
                None,
            )
            if planned:
                planned[1] -= 1
        response = planned[0].act(request) if planned else self._real(request)
        self.exchanges.append((request, response))
        return response

    def _real(self, request: httpx.Request) -> Answer:
        with self.lock:
            path = request.url.raw_path.decode().partition("?")[0]
            if path.endswith("/protocol/openid-connect/token"):
                if self.secret not in {"", *parse_qs(request.content.decode()).get("client_secret", [])}:
                    return httpx.Response(401, json={"error": "unauthorized_client"})
                self.tokens += 1
                return httpx.Response(200, json={"access_token": f"t{self.tokens}", "expires_in": 300})
            if not request.headers.get("authorization", "").startswith("Bearer t"):
                return httpx.Response(401, json={"error": "HTTP 401 Unauthorized"})
            parts = [unquote(part) for part in path.removeprefix(BASE).split("/")]
            body = json.loads(request.content) if request.content else None
            return self._route(request.method, parts, dict(request.url.params), body)

    def _route(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:  # noqa: C901, PLR0912 (a table)
        match method, parts:
            case "GET", ["clients"]:
                name = query.get("clientId", "")
                hidden = self.hides_clients and name == "realm-management"
                return _json(
                    [] if hidden or name not in self.clients else [{"id": self.clients[name], "clientId": name}]
                )
            case "GET", ["", "admin", "realms", realm]:
                return _json({"realm": realm, "adminPermissionsEnabled": self.fine_grained})
            case "GET", ["roles", name, "users"]:
                return self._holders("", name, query)
            case "GET", ["clients", client, "roles", name, "users"] if client in self.clients.values():
                return self._holders(client, name, query)
            case "GET", ["roles", name]:
                return self._one(self.roles[""].get(name))
            case _, ["clients", client, *_] if client not in self.clients.values():
                return httpx.Response(404, json={"error": "Could not find client"})
            case "GET", ["clients", client, "roles", name]:
                return self._one(self.roles[client].get(name))
            case "POST", ["clients", client, "roles"]:
                if body["name"] in self.roles[client]:
                    return httpx.Response(409, json={"errorMessage": "Role exists"})
                self.role(body["name"], client)
                return httpx.Response(201)
            case "GET", ["roles-by-id", pk]:
                return self._one(next((role for role in self._all() if role["id"] == pk), None))
            case "GET", ["roles-by-id", pk, "composites"]:
                return _json(self.composites[pk])
            case "GET", ["users"]:
                return _json(self._page(list(self.users.values()), query))
            case "GET", ["groups"]:
                return _json(self._page([group for group, _ in self.groups], query))
            case "GET", ["groups", pk, "members"]:
                members = next(members for group, members in self.groups if group["id"] == pk)
                return _json(self._page([self.users[user] for user in members], query))
            case _, ["users", user, "role-mappings", *rest]:
                return self._mapping(method, user, rest, body)
        return httpx.Response(404, json={"error": "Unable to find matching target resource method"})

    def _holders(self, container: str, name: str, query: dict[str, str]) -> Answer:
        role = self.roles[container].get(name)
        if role is None:
            return self._one(None)
        people = [user for pk, user in self.users.items() if role["id"] in self.mapped[pk][container]]
        return _json([] if self.fine_grained else self._page(people, query))

    def _mapping(self, method: str, user: str, rest: list[str], body: Any) -> Answer:
        if user not in self.users:
            return httpx.Response(404, json={"error": "User not found"})
        held = self.mapped[user]
        if method == "GET" and not rest:
            return _json(self._held(held))
        container = "" if rest == ["realm"] else rest[1]
        if container and container not in self.clients.values():
            return httpx.Response(404, json={"error": "Client not found"})
        if method == "GET":
            return _json([role for role in self.roles[container].values() if role["id"] in held[container]])
        if body is None:  # the trap: without a body, all of them go
            if method == "DELETE":
                held[container].clear()
                return httpx.Response(204)
            return httpx.Response(500)
        known = {role["id"]: role["name"] for role in self.roles[container].values()}
        if any(known.get(role.get("id")) != role.get("name") for role in body):
            return httpx.Response(404, json={"error": "Role not found"})
        for role in body:
            (held[container].add if method == "POST" else held[container].discard)(role["id"])
        return httpx.Response(204)

    def _all(self) -> Iterator[dict[str, Any]]:
        return (role for roles in self.roles.values() for role in roles.values())

    def _held(self, held: dict[str, set[str]]) -> dict[str, Any]:
        by_id = {role["id"]: role for role in self._all()}
        answer: dict[str, Any] = {}
        for container, ids in held.items():
            mappings = [by_id[pk] for pk in sorted(ids) if pk in by_id]
            if mappings and not container:
                answer["realmMappings"] = mappings
            elif mappings:
                name = next(name for name, pk in self.clients.items() if pk == container)
                of_client = {"id": container, "client": name, "mappings": mappings}
                answer.setdefault("clientMappings", {})[name] = of_client
        return answer

    def _one(self, role: dict[str, Any] | None) -> Answer:
        return _json(role) if role else httpx.Response(404, json={"error": "Could not find role"})

    def _page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        first = int(query.get("first", 0))
        return rows[first : first + int(query.get("max", 100))]


def _json(value: Any) -> Answer:
    # As escapes, so that a name may be anything that JSON can say.
    return httpx.Response(200, content=json.dumps(value), headers={"Content-Type": "application/json"})
