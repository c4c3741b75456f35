"""What differs between kinds of orchestrators, as the gateway has to know it. It knows none of them by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from grants.gate.decision.lookup import Asked
from grants.gate.decision.table import Table
from grants.gate.decision.types import Ask, Found, Json, Lookup, Match, Narrowed, Refusal, Route, Upstream, Visible

type Sight = Any  # what a kind's lookups make of a Visible, for its own narrow()


class Lookups(Protocol):
    """Raises LookupFailed where the orchestrator does not say."""

    async def resolve(self, wanted: Collection[Lookup]) -> Found: ...

    async def sight(self, visible: Visible, *, queues: bool = True) -> Sight: ...

    def wrote(self, match: Match) -> None: ...


class Sockets(NamedTuple):
    """The conversation on a kind's sockets. A caller's messages are numbered from 1, the sign-in."""

    protocol: str  # that a client has to offer: without it, the orchestrator may ask for no sign-in
    first: Callable[[Json], str | Refusal | None]  # the token in a sign-in, if it holds one
    sign_in: Callable[[str], Json]  # with the secret that only the gate knows
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


type Answers = Callable[[Match, Json, Found], Json | Refusal]  # what becomes of an answer before it is heard


class Kind(NamedTuple):
    routes: Sequence[Route]
    needs: Callable[[Match, Json], tuple[Lookup, ...] | Refusal]
    asks: Callable[[Match, Json, Found], tuple[Ask, ...] | Refusal]
    named: Callable[[Match, Json, Visible], tuple[Lookup, ...] | Refusal]
    narrow: Callable[[Match, Json, Sight, Found], Narrowed]
    lookups: Callable[[str, Asked], Lookups]
    sockets: Sockets
    started: Started
    queues: frozenset[str] = frozenset()  # scopes whose sight has to have them
    headers: frozenset[str] = frozenset()  # that its clients send, besides everybody's
    answers: Mapping[str, Answers] = MappingProxyType({})  # by template
    anonymous: str = ""  # what to tell a program that shows no credential on a call
    api: str = "/api"  # programs below, pages of people beside


class Served(NamedTuple):
    """One connection and everything that the gate has for it."""

    upstream: Upstream
    kind: Kind
    table: Table
    lookups: Lookups
