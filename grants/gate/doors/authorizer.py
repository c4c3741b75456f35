"""One call on its way to a yes or a no: who, what is asked of it, and whether that is granted at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from multidict import CIMultiDictProxy

from grants.catalog.levels import Level
from grants.gate.bounds.aside import aside
from grants.gate.bounds.callers import STRANGERS
from grants.gate.bounds.turns import Turns
from grants.gate.decision.check import check, holds
from grants.gate.decision.credentials import authenticate, known_by
from grants.gate.decision.kinds import Visible
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.types import (
    ANY,
    Allow,
    Ask,
    CallRefused,
    Code,
    Drain,
    Drains,
    Found,
    Json,
    Lookup,
    Match,
    Principal,
    Refusal,
    Snapshot,
    or_raise,
)
from grants.gate.doors.upstream import Served
from grants.gate.feed.snapshot import Feed, now_of

_NEVER = datetime.min.replace(tzinfo=UTC)
MOST_LOOKUPS = 2_000  # of one call: each may be a question to the orchestrator
FEW_LOOKUPS = 10  # that anybody may cause: a refusal names what would have passed. More wait for the caller's others
_EVERYBODYS = Refusal(403, Code.GUARD, why="This gate does not know what that call would need.")
STALE = Refusal(503, Code.STALE, why="Stint cannot tell at the moment who may do what. Nothing was passed on.")


BEHIND = Refusal(503, Code.RECORD_BEHIND)


@dataclass(slots=True)
class Call:
    """What is known of a call so far; a refusal is told, counted and recorded by it."""

    served: Served
    match: Match
    headers: CIMultiDictProxy[str]
    principal: Principal | None = None  # None on a public route, too
    size: int = 0  # bytes of the body, or of a socket's message: what grows with them is done aside

    @property
    def subject(self) -> int:
        """Whose share of what all callers share the call takes."""
        return STRANGERS if self.principal is None else self.principal.subject


@dataclass(slots=True, frozen=True)
class Passed:
    asks: tuple[Ask, ...]
    found: Found
    outcome: Allow | Drain
    by: Snapshot | None = None  # what was known


class Authorizer:
    """The only place where the gateway gets a yes from. Each raises CallRefused."""

    def __init__(self, feed: Feed, *, scheme: str) -> None:
        self.feed, self.scheme = feed, scheme  # by which browsers reach the gate: a page's origin begins with it
        self._turns = Turns()

    def snapshot(self) -> Snapshot:
        return or_raise(self.feed.fresh() or (BEHIND if self.feed.behind else STALE))

    def principal_of(self, call: Call) -> Principal:
        snapshot, kind = self.snapshot(), call.served.kind
        said = authenticate(
            snapshot, call.served.upstream, call.headers.items(), now_of(snapshot), method=call.match.route.method,
            target=call.match.target, scheme=self.scheme,
        )  # fmt: skip
        if isinstance(said, Refusal) and said.code is Code.CREDENTIAL and kind.is_api(call.match.route.template):
            said = said._replace(why=kind.anonymous)
        call.principal = or_raise(said)
        return call.principal

    def opened_with(self, call: Call, token: str) -> bool:
        """Whether a token in a socket's sign-in is the credential that the socket was opened with."""
        snapshot = self.snapshot()
        known = known_by(snapshot, call.served.upstream, token, now_of(snapshot))
        return not isinstance(known, Refusal) and known.proof == self.principal_of(call).proof

    async def decide(self, call: Call, body: Json, *, opening: bool = False) -> Passed:
        """A request with its body, or the `opening` of a socket."""
        kind = call.served.kind
        found = await self._found(call, or_raise(await aside(call.size, kind.needs, call.match, body)))
        asks = or_raise(await aside(call.size, kind.asks, call.match, body, found))
        return self.decide_now(call, asks, found, opening=opening)

    async def decide_on_message(self, call: Call, number: int, message: Json) -> Passed:
        """A message of the caller's on a socket."""
        words = call.served.kind.sockets
        found = await self._found(call, or_raise(await aside(call.size, words.needs, call.match, number, message)))
        asks = or_raise(await aside(call.size, words.asks, call.match, number, message, found))
        return self.decide_now(call, asks, found)

    def decide_now(self, call: Call, asks: tuple[Ask, ...], found: Found, *, opening: bool = False) -> Passed:
        """By what is known now: looking up took its time, and so does a socket that is open."""
        route = call.match.route
        if route.scope is None and not route.tells_nothing and any(ask.need == ANY for ask in asks):
            raise CallRefused(_EVERYBODYS)
        snapshot = self.snapshot()
        now = now_of(snapshot)
        principal = self.principal_of(call)
        outcome = check(snapshot, principal, asks, now)
        if isinstance(outcome, Refusal):
            raise CallRefused(outcome)
        if isinstance(outcome, Allow):
            until = _good_until(snapshot, principal, call.served.upstream.slug)
            if not now < until:
                raise CallRefused(Refusal(403, Code.ENDED, asks[0]))
            outcome = outcome._replace(until=min(outcome.until, until))
        if isinstance(outcome, Drain) and not _passes(call, outcome, found, opening=opening):
            raise CallRefused(Refusal(403, Code.DRAINED, asks[0]))
        return Passed(asks, found, outcome, snapshot)

    def confirm(self, call: Call, passed: Passed) -> None:
        """Once more before what passed is sent, unless neither what is known nor the hour has changed it."""
        snapshot = self.snapshot()
        if snapshot is passed.by and now_of(snapshot) < passed.outcome.until:
            return
        now = self.decide_now(call, passed.asks, passed.found)
        if call.match.route.scope is not None and not self.still_sees(call, now, passed):
            raise CallRefused(Refusal(403, Code.ENDED))

    def visible(self, call: Call, outcome: Allow | Drain) -> Visible:
        """What may be shown; to a call that passes by the drain of an access, what that had been to."""
        kind = call.served.kind
        if isinstance(outcome, Allow):
            return kind.visible(outcome.shows)
        snapshot = self.snapshot()
        had = [snapshot.grants[grant].resource for grant in outcome.grants if grant in snapshot.grants]
        return kind.visible_in_drain(had)

    def works(self, call: Call) -> bool:
        """Whether the caller may work on something of this orchestrator, or is in the drain of it."""
        snapshot = self.snapshot()
        now = now_of(snapshot)
        grants = (snapshot.grants.get(pk) for pk in snapshot.grants_of.get(call.subject, ()))
        return any(
            Level.WORK in grant.level
            and grant.resource.connection == call.served.upstream.slug
            and grant.starts_at <= now < grant.drain_until
            for grant in grants
            if grant is not None
        )

    def still_sees(self, call: Call, now: Passed, before: Passed) -> bool:
        """Whether nothing is lost of what was shown. What one grant shows ends or drains with it, as the call does."""
        grants = call.principal.grants if call.principal is not None else ()
        if grants is not None and len(grants) <= 1:
            return True
        return self.visible(call, now.outcome).covers(self.visible(call, before.outcome))

    async def _found(self, call: Call, wanted: tuple[Lookup, ...]) -> Found:
        if not wanted:
            return {}
        if len(wanted) > MOST_LOOKUPS:
            raise CallRefused(Refusal(413, Code.TOO_LARGE, why=f"It names more than {MOST_LOOKUPS:,} things."))
        try:
            if len(wanted) <= FEW_LOOKUPS:
                return await call.served.lookups.resolve(wanted)
            self._may_ask(call)
            async with self._turns.of(call.subject):
                return await call.served.lookups.resolve(wanted)
        except LookupFailed:
            raise CallRefused(
                Refusal(503, Code.UPSTREAM, why="The orchestrator cannot be asked what this is.")
            ) from None

    def _may_ask(self, call: Call) -> None:
        """Who is granted nothing here would be refused whatever is found: others wait for the same lookups."""
        snapshot = self.snapshot()
        if not holds(snapshot, self.principal_of(call), call.served.upstream.slug, now_of(snapshot)):
            raise CallRefused(Refusal(403, Code.NO_GRANT))


def _good_until(snapshot: Snapshot, principal: Principal, connection: str) -> datetime:
    """When what it is limited to on a connection is over, with its drains: then it is not good for ANY either."""
    if principal.grants is None:
        return principal.until
    known = (snapshot.grants.get(grant) for grant in principal.grants)
    ends = (
        grant.drain_until
        for grant in known
        if grant is not None and grant.subject == principal.subject and grant.resource.connection == connection
    )
    return max(ends, default=_NEVER)


def _passes(call: Call, drain: Drain, found: Found, *, opening: bool) -> bool:
    """Whether a route passes in the drain: one that is answered EMPTY does, for that is the gateway's to say."""
    drains = call.match.route.drains
    if drains is Drains.EMPTY or (opening and drains is Drains.RUN):
        return True  # a socket that is kept for reports names no run itself: its frames do
    return call.served.kind.may_finish(call.match, found.keys(), found, drain)
