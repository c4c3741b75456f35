"""A Prefect server of ours for tests: the routes that the catalog reads, with state, pages and faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx

NOW = "2026-11-24T12:00:00Z"

type Fault = Callable[[httpx.Request], httpx.Response | None]


class FakePrefect(httpx.BaseTransport):
    """`faults` are asked first, in turn: each answers once (or raises), then is gone; None passes on."""

    url = "http://prefect.test/api"

    def __init__(self, page: int = 200) -> None:
        self.page = page
        self.rows: dict[str, dict[str, dict[str, Any]]] = {
            "work_pools": {},
            "deployments": {},
            "block_documents": {},
            "flows": {},
        }
        self.faults: list[Fault] = []
        self.asked: list[httpx.Request] = []
        self.version: object = "3.9.1"
        self.auth: str | None = None  # the Authorization header it insists on
        self.before: Callable[[httpx.Request], None] = lambda request: None

    # What tests do to it; the same steps as tests/real/seed_prefect.py

    def do(self, *steps: dict[str, Any]) -> list[Any]:
        return [
            getattr(self, step["do"])(**{key: value for key, value in step.items() if key != "do"}) for step in steps
        ]

    def pool(self, name: str, description: str | None = None) -> str:
        return self._add("work_pools", name=name, description=description, type="process")

    def deployment(
        self, flow: str, name: str, pool: str | None = None, tags: tuple[str, ...] = (), description: str = ""
    ) -> str:
        flows = {row["name"]: key for key, row in self.rows["flows"].items()}
        flow_id = flows.get(flow) or self._add("flows", name=flow)
        return self._add(
            "deployments",
            name=name,
            flow_id=flow_id,
            work_pool_name=pool,
            tags=list(tags),
            description=description or None,
        )

    def secret(self, name: str, value: str) -> str:
        kind = {
            "id": str(uuid4()),
            "name": "Secret",
            "slug": "secret",
            "description": "Holds a secret.",
            "created": NOW,
            "updated": NOW,
        }
        return self._add(
            "block_documents",
            name=name,
            data={"value": "********"},
            block_type=kind,
            block_type_id=kind["id"],
            block_schema_id=str(uuid4()),
            hidden=value,
        )

    def delete_deployment(self, id: str) -> None:  # noqa: A002 (as in tests/real/seed_prefect.py)
        del self.rows["deployments"][id]

    def delete_pool(self, name: str) -> None:
        self.rows["work_pools"] = {key: row for key, row in self.rows["work_pools"].items() if row["name"] != name}
        for row in self.rows["deployments"].values():
            row["work_pool_name"] = None if row["work_pool_name"] == name else row["work_pool_name"]

    def retag(self, id: str, tags: list[str]) -> None:  # noqa: A002
        self.rows["deployments"][id]["tags"] = tags

    def _add(self, what: str, **row: Any) -> str:
        key = str(uuid4())
        self.rows[what][key] = {"id": key, "created": NOW, "updated": NOW, **row}
        return key

    # The server

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.faults and (answer := self.faults.pop(0)(request)) is not None:
            return answer
        if self.auth is not None and request.headers.get("Authorization") != self.auth:
            return httpx.Response(401, json={"exception_message": "Unauthorized"})
        self.before(request)
        _, _, what, action = request.url.path.split("/")
        if (what, action) == ("admin", "version"):
            return httpx.Response(200, json=self.version)
        if what not in self.rows or action not in ("count", "filter"):
            return httpx.Response(404, json={"detail": "Not Found"})
        rows = list(self.rows[what].values())
        body = json.loads(request.content)
        if action == "count":
            return httpx.Response(200, json=len(rows))
        if body.get("limit", 0) > self.page:
            return httpx.Response(422, json={"detail": "Invalid limit"})
        if wanted := body.get("flows", {}).get("id", {}).get("any_"):
            rows = [row for row in rows if row["id"] in wanted]
        rows = rows[body.get("offset", 0) :][: self.page]
        shown = [
            {key: value for key, value in row.items() if key != "hidden" or body.get("include_secrets")} for row in rows
        ]
        return httpx.Response(200, content=json.dumps(shown).encode(), headers={"Content-Type": "application/json"})


def answers(status: int, **headers: str) -> Fault:
    return lambda request: httpx.Response(status, headers=headers, json={"detail": "token=hunter2"})


def passes(request: httpx.Request) -> None:
    return None
