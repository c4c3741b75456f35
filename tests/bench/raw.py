"""The same calls at the same Keycloak with bare httpx and nothing else: what our times are held against."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from tests.real.keycloak import Realm


class Raw:
    """One role of client `stint`, mapped and unmapped by the account that Stint has, without Stint."""

    def __init__(self, realm: Realm, name: str) -> None:
        self.realm = realm
        self.role = {key: value for key, value in realm.make(name, realm.stint).items() if key in ("id", "name")}
        self.token = ""

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"{self.realm.url}/admin/realms/{self.realm.name}", headers=headers, timeout=30)

    def login(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": "stint-provisioner",
                "client_secret": self.realm.provisioner_secret}  # fmt: skip
        answer = httpx.post(f"{self.realm.issuer}/protocol/openid-connect/token", data=form).raise_for_status()
        self.token = answer.json()["access_token"]

    def map(self, http: httpx.Client, user: str) -> None:
        self._change(http, "POST", user)

    def unmap(self, http: httpx.Client, user: str) -> None:
        self._change(http, "DELETE", user)

    def take(self, http: httpx.Client, user: str) -> None:
        """Take the role and read back that it is gone: the two calls that the adapter makes."""
        self.unmap(http, user)
        held = http.get(f"/users/{user}/role-mappings").raise_for_status().json()
        mapped: list[dict[str, Any]] = held.get("clientMappings", {}).get("stint", {}).get("mappings", [])
        if self.role["name"] in {role["name"] for role in mapped}:
            raise RuntimeError(f"Keycloak still shows {self.role['name']}.")

    def rate(self, call: Callable[[httpx.Client, str], None], users: Iterable[str], threads: int) -> float:
        """Do `call` for each user from this many threads, a warm client each; returns users a second."""
        self.login()
        todo: SimpleQueue[str] = SimpleQueue()
        count = 0
        for count, user in enumerate(users, start=1):  # noqa: B007 (used after the loop)
            todo.put(user)
        ready = threading.Barrier(threads + 1, timeout=60)

        def run() -> None:
            with self.client() as http:
                http.get("/clients/x")  # the connection is made before the clock runs
                ready.wait()
                with suppress(Empty):
                    while True:
                        call(http, todo.get_nowait())

        with ThreadPoolExecutor(threads) as crew:
            running = [crew.submit(run) for _ in range(threads)]
            ready.wait()
            begun = time.perf_counter()
            for one in running:
                one.result()
            return count / (time.perf_counter() - begun)

    def _change(self, http: httpx.Client, method: str, user: str) -> None:
        path = f"/users/{user}/role-mappings/clients/{self.realm.stint}"
        http.request(method, path, json=[self.role]).raise_for_status()
