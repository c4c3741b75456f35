"""What Stint needs to know of any orchestrator, whatever its brand."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """One thing that the orchestrator has. `remote_id` never changes there, `name` may.

    Name and tags are as it writes them, letter by letter: the catalog says which of them it takes.
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
    """What was found. Only a complete one may be taken as proof that something is gone."""

    found: tuple[Found, ...]
    complete: bool
    why: str = ""  # why it is not complete, a sentence for people


class Orchestrator(Protocol):
    def version(self) -> str:
        """The version that the server says it is. Raises Unavailable, Missing, Refused, or its kind Unsupported."""
        ...

    def listing(self) -> Listing:
        """Everything that can be asked for. Raises Unavailable, Missing or Refused."""
        ...

    def close(self) -> None: ...
