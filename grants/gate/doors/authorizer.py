"""Decide on one call: authenticate it, look up what it names, check what it asks against the grants of this moment."""

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
MOST_LOOKUPS = 2_000  # of one call: each may be a request to the orchestrator
FEW_LOOKUPS = 10  # that a caller without grants may cause. More lookups of one caller are made one call at a time
_EVERYBODYS = Refusal(403, Code.GUARD, why="This gate does not know what that call would need.")
STALE = Refusal(503, Code.STALE, why="Stint cannot tell at the moment who may do what. Nothing was passed on.")


BEHIND = Refusal(503, Code.RECORD_BEHIND)


@dataclass(slots=True)
class Call:
    """What is known of a call so far: a refusal is told, counted and recorded by it."""

    served: Served
    match: Match
    headers: CIMultiDictProxy[str]
    principal: Principal | None = None  # None before it is authenticated, and on a public route
    size: int = 0  # bytes of the body, or of a socket's message: what takes longer with them is done in a thread

    @property
    def subject(self) -> int:
        """The subject whose share of the common bounds the call takes."""
        return STRANGERS if self.principal is None else self.principal.subject


@dataclass(slots=True, frozen=True)
class Passed:
    asks: tuple[Ask, ...]
    found: Found
    outcome: Allow | Drain
    by: Snapshot | None = None  # what it was decided by


class Authorizer:
    """The only place where calls are allowed. Each method raises CallRefused where one is not."""

    def __init__(self, feed: Feed, *, scheme: str) -> None:
        self.feed, self.scheme = feed, scheme  # how browsers reach the gate: the origin of its pages begins with it
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
        """Tell whether the token in a socket's sign-in is the credential that the socket was opened with."""
        snapshot = self.snapshot()
        known = known_by(snapshot, call.served.upstream, token, now_of(snapshot))
        return not isinstance(known, Refusal) and known.proof == self.principal_of(call).proof

    async def decide(self, call: Call, body: Json, *, opening: bool = False) -> Passed:
        """Decide on a request with its body, or on the `opening` of a socket."""
        kind = call.served.kind
        found = await self._found(call, or_raise(await aside(call.size, kind.needs, call.match, body)))
        asks = or_raise(await aside(call.size, kind.asks, call.match, body, found))
        return self.decide_now(call, asks, found, opening=opening)

    async def decide_on_message(self, call: Call, number: int, message: Json) -> Passed:
        """Decide on a message that the caller sends on a socket."""
        words = call.served.kind.sockets
        found = await self._found(call, or_raise(await aside(call.size, words.needs, call.match, number, message)))
        asks = or_raise(await aside(call.size, words.asks, call.match, number, message, found))
        return self.decide_now(call, asks, found)

    def decide_now(self, call: Call, asks: tuple[Ask, ...], found: Found, *, opening: bool = False) -> Passed:
        """Decide by what is known now: looking up may have taken a while, and a socket stays open."""
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
        """Decide once more before a call is sent, unless nothing that is known has changed and no end has come."""
        snapshot = self.snapshot()
        if snapshot is passed.by and now_of(snapshot) < passed.outcome.until:
            return
        now = self.decide_now(call, passed.asks, passed.found)
        if call.match.route.scope is not None and not self.still_sees(call, now, passed):
            raise CallRefused(Refusal(403, Code.ENDED))

    def visible(self, call: Call, outcome: Allow | Drain) -> Visible:
        """What the caller may see; for a call that passes by the drain of an access, what that access was to."""
        kind = call.served.kind
        if isinstance(outcome, Allow):
            return kind.visible(outcome.shows)
        snapshot = self.snapshot()
        had = [snapshot.grants[grant].resource for grant in outcome.grants if grant in snapshot.grants]
        return kind.visible_in_drain(had)

    def works(self, call: Call) -> bool:
        """Tell whether the caller has `work` on anything of this orchestrator that is live or drains."""
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
        """Tell whether the caller may still see all that it was shown.

        A caller that is limited to one grant may: what that shows ends or drains with it, and so does the call.
        """
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
        """Refuse a caller without a grant here before many lookups: it would be refused whatever they find."""
        snapshot = self.snapshot()
        if not holds(snapshot, self.principal_of(call), call.served.upstream.slug, now_of(snapshot)):
            raise CallRefused(Refusal(403, Code.NO_GRANT))


def _good_until(snapshot: Snapshot, principal: Principal, connection: str) -> datetime:
    """When the last grant is over that the caller is limited to, its drain included: then not even ANY passes."""
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
    """Tell whether a call passes in the drain. One that is to be answered EMPTY does: the gateway answers it."""
    drains = call.match.route.drains
    if drains is Drains.EMPTY or (opening and drains is Drains.RUN):
        return True  # opening a socket for reports names no run: its messages do
    return call.served.kind.may_finish(call.match, found.keys(), found, drain)
