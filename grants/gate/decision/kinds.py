"""What a kind of orchestrator is to the gate, which knows each kind by these parts alone, and none by name."""

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

type VisibleIds = Any  # what a kind's lookups make of a Visible, for its own narrow()


class Visible(Protocol):
    """What some grants show of an orchestrator. The kind alone looks into it."""

    def covers(self, other: Any) -> bool:
        """Whether everything that `other` shows is shown by this, too. `other` is of the same kind."""
        ...


class Lookups(Protocol):
    """What an orchestrator says of ids and names. Raises LookupFailed where it does not say."""

    async def resolve(self, wanted: Collection[Lookup]) -> Found: ...

    async def visible_ids(self, visible: Any, scope: Scope) -> VisibleIds: ...

    def wrote(self, match: Match) -> None: ...


class Entrance(Protocol):
    """What a kind needs in order to be let in at one orchestrator."""

    def secret(self) -> str:
        """What only the gate knows; "" where the orchestrator has none. Raises Unavailable."""
        ...

    def forget_secret(self) -> None:
        """Read the secret anew the next time: the orchestrator does not take it any more."""
        ...

    async def ask(
        self, method: str, target: str, body: Json = None, *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """Status and body of a question without authorization: for a token. Raises LookupFailed."""
        ...


class Authorization(Protocol):
    """What the gate shows of itself at one orchestrator. Raises Unavailable or LookupFailed where it has nothing."""

    async def headers(self) -> Mapping[str, str]:
        """For a call, and for the handshake of a socket. A token that expires is renewed here."""
        ...

    async def sign_in(self) -> Json:
        """The first message on a socket, in the place of the caller's."""
        ...

    def refused(self) -> None:
        """The orchestrator has answered 401 to what was shown: it is not shown again."""
        ...


class Sockets(NamedTuple):
    """The conversation on a kind's sockets. A caller's messages are numbered from 1, the sign-in."""

    protocol: str  # that a client has to offer: without it, the orchestrator may ask for no sign-in
    first: Callable[[Json], str | Refusal | None]  # the token in a sign-in, if it holds one
    needs: Callable[[Match, int, Json], tuple[Lookup, ...] | Refusal]
    asks: Callable[[Match, int, Json, Found], tuple[Ask, ...] | Refusal]
    sends: Callable[[Match, int, Json], Json]  # a message that passed, as it goes up
    loose: frozenset[str] = frozenset()  # templates whose messages stand alone: one that is refused is left out
    anonymous: str = ""  # what to tell a client that shows no credential when it opens one
    without_protocol: str = ""  # what to tell a client that does not offer `protocol`


class Started(NamedTuple):
    """Where runs are started, and which ones, by the answer's body."""

    templates: frozenset[str]
    runs: Callable[[Json], tuple[str, ...]]


type RewriteAnswer = Callable[[Match, Json, Found], Json | Refusal]  # what becomes of an answer before it is heard


class Kind(NamedTuple):
    name: str  # as a connection has it
    routes: Sequence[Route]
    lookups: Callable[[str, Asked], Lookups]
    authorize: Callable[[Entrance], Authorization]
    sockets: Sockets
    started: Started
    # What a call asks for.
    needs: Callable[[Match, Json], tuple[Lookup, ...] | Refusal]
    asks: Callable[[Match, Json, Found], tuple[Ask, ...] | Refusal]
    alone: Callable[[Match], str | None]  # calls that give the same text, if any, go up one after the other
    may_finish: Callable[[Match, Collection[Lookup], Found, Drain], bool]  # in the drain of an access that has ended
    # What lists show.
    visible: Callable[[Sequence[Grant]], Visible]  # by grants that are live
    visible_in_drain: Callable[[Sequence[Key]], Visible]  # of what an access had been to that has ended
    named: Callable[[Match, Json, Any], tuple[Lookup, ...] | Refusal]
    narrow: Callable[[Match, Json, VisibleIds, Found], Narrowed]
    # How its clients and pages talk.
    page_policy: str  # the Content-Security-Policy of its pages
    api: str  # programs below, pages of people beside; what a connection's URL ends with
    headers: frozenset[str] = frozenset()  # that its clients send, besides everybody's
    answers: Mapping[str, RewriteAnswer] = MappingProxyType({})  # by template
    anonymous: str = ""  # what to tell a program that shows no credential on a call
    things: Mapping[str, str] = MappingProxyType({})  # kinds of its resources, in words

    def is_api(self, path: str) -> bool:
        """Whether programs call this path, and not people's browsers."""
        return path == self.api or path.startswith(self.api + "/")
