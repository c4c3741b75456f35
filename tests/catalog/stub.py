"""An orchestrator for the sync's tests, and things that it can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from grants.adapters.orchestrators.base import Listing, RemoteResource
from grants.adapters.orchestrators.prefect import SERVER


class Stub:
    """An orchestrator that has what it is given, or fails with it."""

    def __init__(self, *found: RemoteResource, complete: bool = True) -> None:
        self.has = list(found)
        self.complete = complete
        self.error: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def version(self) -> str:
        return "3.9.1"

    def listing(self) -> Listing:
        listing = Listing((SERVER, *self.has), self.complete, "" if self.complete else "It kept changing.")
        self.meanwhile()
        if self.error:
            raise self.error
        return listing

    def close(self) -> None:
        raise AssertionError("whoever opens it closes it")


def pool(name: str, **more: Any) -> RemoteResource:
    return RemoteResource("pool", str(uuid4()), name, parent_kind="server", parent_remote_id="server", **more)


def deployment(name: str, of: RemoteResource, **more: Any) -> RemoteResource:
    return RemoteResource("deployment", str(uuid4()), name, parent_kind="pool", parent_remote_id=of.remote_id, **more)
