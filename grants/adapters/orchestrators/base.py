"""The calls that Stint makes to any orchestrator: its version and the list of what it has."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class RemoteResource(NamedTuple):
    """A resource as the orchestrator describes it. `remote_id` never changes there, `name` may.

    Name and tags are exactly as the orchestrator writes them; the catalog decides which of them it accepts.
    """

    kind: str  # server, pool, deployment, block …
    remote_id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    parent_kind: str = ""  # "" for the server
    parent_remote_id: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.remote_id


class Listing(NamedTuple):
    """All resources that were read. Only a complete listing proves that a resource is gone."""

    resources: tuple[RemoteResource, ...]
    complete: bool
    why: str = ""  # why it is not complete, a sentence for people


class OrchestratorAdapter(Protocol):
    def version(self) -> str:
        """Return the server's version. Raises Unavailable, Missing or Refused (Unsupported for an old server)."""
        ...

    def listing(self) -> Listing:
        """List every resource that can be asked for. Raises Unavailable, Missing or Refused."""
        ...

    def close(self) -> None: ...
