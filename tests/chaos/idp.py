"""The fake Keycloak as a process of its own, over HTTP. What it has answered for is in a file: a SIGKILL loses nothing.

`python -m tests.chaos.idp PORT FOLDER`: `state.json` is all it knows, `calls.jsonl` every mapping that it was asked
to make or to take, in order, with what the person held before and after; `delay` how many seconds each call takes.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, override

import httpx

from tests.adapters.fake_keycloak import Answer, FakeKeycloak


class Call(NamedTuple):
    """One call that meant to change what somebody holds."""

    at: float
    method: str
    user: str
    roles: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


class Kept(FakeKeycloak):
    """A FakeKeycloak whose state is a file: whoever reads that file sees it as its admin does."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        if self.file.exists():
            state = json.loads(self.file.read_text())
            self.clients, self.users, self.groups = state["clients"], state["users"], state["groups"]
            self.roles = defaultdict(dict, state["roles"])
            self.mapped = {
                user: defaultdict(set, {box: set(ids) for box, ids in held.items()})
                for user, held in state["mapped"].items()
            }

    @property
    def file(self) -> Path:
        return self.folder / "state.json"

    def save(self) -> None:
        mapped = {user: {box: sorted(ids) for box, ids in held.items()} for user, held in self.mapped.items()}
        state = {"clients": self.clients, "users": self.users, "groups": self.groups, "roles": self.roles,
                 "mapped": mapped}  # fmt: skip
        self.file.with_suffix(".part").write_text(json.dumps(state))
        self.file.with_suffix(".part").replace(self.file)

    def held(self, user: str) -> set[str]:
        """The roles of client stint that somebody holds, by name."""
        box = self.clients["stint"]
        names = {role["id"]: name for name, role in self.roles[box].items()}
        return {names[pk] for pk in self.mapped.get(user, {}).get(box, ())}

    def calls(self) -> list[Call]:
        file = self.folder / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [Call(at, method, user, *map(tuple, rest)) for at, method, user, *rest in map(json.loads, lines)]

    @override
    def _route(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, parts:
            case "DELETE", ["users", user]:  # an admin's; Stint deletes nobody
                del self.users[user], self.mapped[user]
                self.groups = [(group, [one for one in members if one != user]) for group, members in self.groups]
                self.save()
                return httpx.Response(204)
            case (("POST" | "DELETE"), ["users", user, "role-mappings", *_]):
                before = sorted(self.held(user))
                answer = super()._route(method, parts, query, body)
                self.save()
                line = [time.time(), method, user, [role["name"] for role in body], before, sorted(self.held(user))]
                with (self.folder / "calls.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                return answer
            case "POST", _:
                answer = super()._route(method, parts, query, body)
                self.save()
                return answer
        return super()._route(method, parts, query, body)


def serve(port: int, folder: Path) -> None:
    kept = Kept(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            most = float((folder / "delay").read_text())
            time.sleep(most * random.uniform(0.5, 1))
            response = kept.answer(
                httpx.Request(self.command, f"http://fake{self.path}", headers=headers, content=body)
            )
            kept.requests.clear()
            kept.exchanges.clear()
            with (folder / "served").open("a") as log:
                log.write(f"{self.command} {self.path}\n")
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 (the names that http.server calls)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

        @override
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # whoever asked was killed meanwhile

    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    serve(int(sys.argv[1]), Path(sys.argv[2]))
