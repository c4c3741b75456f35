"""What Stint reads of any identity provider besides sign-ins: who there is, and in which groups."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class DirectoryPerson(NamedTuple):
    external_id: str  # the `sub` of their tokens; never changes
    username: str
    name: str
    email: str
    enabled: bool
    groups: tuple[str, ...]


class Directory(Protocol):
    def people(self) -> list[DirectoryPerson]:
        """Everybody, completely. Raises Unavailable, Missing or Refused rather than answer with a part."""
        ...

    def close(self) -> None: ...
