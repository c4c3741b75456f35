"""The parts by which the gate knows a kind of orchestrator. It knows no kind by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from grants.catalog.levels import Key
from grants.gate.decision.lookup import Asked
from grants.gate.decision.types import (
    Ask,
    Drain,
    Found,
    Grant,
    Json,
    Lookup,
    Match,
    Narrowed,
    Refusal,
    Route,
    Scope,
)

type VisibleIds = Any  # what a kind's lookups make of a Visible; only its own narrow() reads it


class Visible(Protocol):
    """What some grants show of an orchestrator. Only the kind reads its content."""

    def covers(self, other: Any) -> bool:
        """Tell whether this shows everything that `other` shows, which is of the same kind."""
        ...


class Lookups(Protocol):
    """What an orchestrator says of ids and names. Raises LookupFailed where it gives no answer."""

    async def resolve(self, wanted: Collection[Lookup]) -> Found: ...

    async def visible_ids(self, visible: Any, scope: Scope) -> VisibleIds: ...

    def wrote(self, match: Match) -> None: ...


class Entrance(Protocol):
    """What a kind needs to authorize the gate at one orchestrator."""

    def secret(self) -> str:
        """The secret that only the gate has; "" where the connection has none. Raises Unavailable."""
        ...

    def forget_secret(self) -> None:
        """Read the secret anew the next time: the orchestrator no longer accepts this one."""
        ...

    async def ask(
        self, method: str, target: str, body: Json = None, *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """Ask without authorization, to get a token; give status and body. Raises LookupFailed."""
        ...


class Authorization(Protocol):
    """How the gate authorizes itself at one orchestrator. Raises Unavailable or LookupFailed where it cannot."""

    async def headers(self) -> Mapping[str, str]:
        """The headers of a call, and of a socket's handshake. A token that expires is renewed here."""
        ...

    async def sign_in(self) -> Json:
        """The first message on a socket, sent in place of the caller's."""
        ...

    def refused(self) -> None:
        """Take note that the orchestrator answered 401: the same authorization is not shown again."""
        ...


class Sockets(NamedTuple):
    """The messages on a kind's sockets. Those of a caller are numbered from 1, which is the sign-in."""

    protocol: str  # the subprotocol that a client must offer: without it, the orchestrator may ask for no sign-in
    first: Callable[[Json], str | Refusal | None]  # the token in a sign-in, if it holds one
    needs: Callable[[Match, int, Json], tuple[Lookup, ...] | Refusal]
    asks: Callable[[Match, int, Json, Found], tuple[Ask, ...] | Refusal]
    sends: Callable[[Match, int, Json], Json]  # a message that passed, as it is sent to the orchestrator
    loose: frozenset[str] = frozenset()  # templates whose messages are independent: a refused one is left out
    anonymous: str = ""  # what a client is told that opens one without a credential
    without_protocol: str = ""  # what a client is told that does not offer `protocol`


class Started(NamedTuple):
    """The templates of calls that start runs, and how the runs are read from an answer's body."""

    templates: frozenset[str]
    runs: Callable[[Json], tuple[str, ...]]


type RewriteAnswer = Callable[[Match, Json, Found], Json | Refusal]  # changes or refuses an answer


class Kind(NamedTuple):
    name: str  # as a connection has it
    routes: Sequence[Route]
    lookups: Callable[[str, Asked], Lookups]
    authorize: Callable[[Entrance], Authorization]
    sockets: Sockets
    started: Started
    # What a call asks for:
    needs: Callable[[Match, Json], tuple[Lookup, ...] | Refusal]
    asks: Callable[[Match, Json, Found], tuple[Ask, ...] | Refusal]
    alone: Callable[[Match], str | None]  # calls that give the same text, if any, are passed one after the other
    may_finish: Callable[[Match, Collection[Lookup], Found, Drain], bool]  # whether a call passes in a drain
    # What lists show:
    visible: Callable[[Sequence[Grant]], Visible]  # by grants that are live
    visible_in_drain: Callable[[Sequence[Key]], Visible]  # of the resources of an access that has ended
    named: Callable[[Match, Json, Any], tuple[Lookup, ...] | Refusal]
    narrow: Callable[[Match, Json, VisibleIds, Found], Narrowed]
    # How its clients and pages are answered:
    page_policy: str  # the Content-Security-Policy of its pages
    api: str  # the path below which programs call, as a connection's URL ends; other paths are pages
    headers: frozenset[str] = frozenset()  # that its clients send, besides the common ones
    answers: Mapping[str, RewriteAnswer] = MappingProxyType({})  # by template
    anonymous: str = ""  # what a program is told that calls without a credential
    things: Mapping[str, str] = MappingProxyType({})  # the kinds of its resources, in words

    def is_api(self, path: str) -> bool:
        """Tell whether this is a path that programs call, and no page."""
        return path == self.api or path.startswith(self.api + "/")
