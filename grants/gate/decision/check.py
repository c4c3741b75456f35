"""The decision: what a caller was granted, against what a call asks, at one moment. No clock, no I/O, no doubt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import (
    ANY,
    Allow,
    Ask,
    Code,
    Drain,
    Drains,
    Found,
    Grant,
    Lookup,
    Match,
    Principal,
    Refusal,
    Snapshot,
    Visible,
)

_RUNS = frozenset({"flow_run", "task_run", "artifact"})  # kinds of Lookup that name a run
_EVENTS = frozenset({"/api/events", "/api/events/in"})  # where a worker also tells of itself
_MAKES = "/api/flow_runs/"  # a part of a run that had started, unless it is a deployment's: that is a new one


class _Used(NamedTuple):
    """The grant that passes an ask, and until when."""

    grant: Grant
    until: datetime


def check(snapshot: Snapshot, principal: Principal, asks: Sequence[Ask], now: datetime) -> Allow | Drain | Refusal:
    """Whether all of `asks` are granted now. If only for what is ending, the Drain says so."""
    if principal.subject not in snapshot.subjects:
        return Refusal(401, Code.INACTIVE)
    if not now < principal.until:
        return Refusal(401, Code.EXPIRED)
    if not asks:
        return Refusal(403, Code.GUARD)  # nothing was asked, so nothing is granted
    held = list(_held(snapshot, principal))
    used: list[_Used] = []
    draining: list[Grant] = []
    for ask in asks:
        passed = _live(ask, held, now)
        if passed is not None:
            used += passed
        elif (ending := _draining(ask, held, now)) is not None:
            draining.append(ending)
        else:
            return Refusal(403, _why(ask, held, now), ask)
    if missing := next((ask for ask in asks if ask.missing), None):
        return Refusal(404, Code.NOT_FOUND, missing)
    if draining:
        return Drain(
            _ids([*(one.grant for one in used), *draining]),
            ended=min(grant.until for grant in draining),
            until=min([principal.until, *(one.until for one in used), *(grant.drain_until for grant in draining)]),
        )
    visible, seen_until = _visible(held, _connection(asks), now)
    ends = [principal.until, *(one.until for one in used)]
    if any(ask.need == ANY for ask in asks):
        ends += seen_until  # what a list shows changes with the first of them
    return Allow(_ids(one.grant for one in used), min(ends), visible)


def may_finish(match: Match, wanted: Collection[Lookup], found: Found, drain: Drain) -> bool:
    """Whether a call reports on runs that had started when the access ended: on one at least, and on no other."""
    if match.route.drains is Drains.ALWAYS:
        return True
    if match.route.drains is not Drains.RUN:
        return False
    if match.route.template == _MAKES and any(lookup.kind == "deployment" for lookup in wanted):
        return False
    runs = [lookup for lookup in wanted if lookup.kind in _RUNS]
    begun = [_begun(found, lookup, drain.ended) for lookup in runs]
    if not runs:
        return match.route.template in _EVENTS
    # A task run that Prefect has not written yet begins now, in a flow run that is named beside it.
    return all(known is not False for known in begun) and any(begun)


def _begun(found: Found, lookup: Lookup, ended: datetime) -> bool | None:
    """None: a task run or artifact that the orchestrator does not know."""
    known = found.get(lookup)
    if known is None:
        return None if lookup.kind != "flow_run" else False
    started = known.facts.get("started")
    return isinstance(started, str) and datetime.fromisoformat(started) <= ended


def _held(snapshot: Snapshot, principal: Principal) -> Iterator[Grant]:
    """The grants that this credential carries, whatever the time: a token its one, a session all of its subject's."""
    for pk in snapshot.grants_of.get(principal.subject, ()):
        grant = snapshot.grants.get(pk)
        if grant is None or grant.subject != principal.subject:
            continue
        if principal.only_grant is None or principal.only_grant == grant.id:
            yield grant


def holds(snapshot: Snapshot, principal: Principal, connection: str, now: datetime) -> bool:
    """Whether anything of an orchestrator is granted to the caller now, or in its drain."""
    return any(
        grant.resource.connection == connection and grant.starts_at <= now < grant.drain_until
        for grant in _held(snapshot, principal)
    )


def nearest(snapshot: Snapshot, principal: Principal, ask: Ask, now: datetime) -> Grant | None:
    """What the caller holds, or else held, where `ask` asks for more: for a refusal's words, never for a decision."""
    there = [grant for grant in _held(snapshot, principal) if grant.resource in ask.lineage and grant.starts_at <= now]
    return max(there, key=lambda grant: (now < grant.until, grant.level.value, grant.until), default=None)


def _live(ask: Ask, held: Sequence[Grant], now: datetime) -> list[_Used] | None:
    if ask.need == ANY:
        return []
    passing = [grant for grant in held if grant.starts_at <= now < grant.until and _passes(grant, ask)]
    if not passing:
        return None
    last = max(passing, key=lambda grant: (grant.until, grant.id))
    return [_Used(last, last.until)]


def _draining(ask: Ask, held: Sequence[Grant], now: datetime) -> Grant | None:
    ending = [
        grant
        for grant in held
        if grant.starts_at <= grant.until <= now < grant.drain_until
        and Level.WORK in grant.level
        and _passes(grant, ask)
    ]
    return max(ending, key=lambda grant: (grant.drain_until, grant.id), default=None)


def _passes(grant: Grant, ask: Ask) -> bool:
    return any(_covers(grant, key, ask.need) for key in ask.lineage)


def _covers(grant: Grant, key: Key, need: Level) -> bool:
    if key.kind != "any":
        return grant.resource == key and need in grant.level
    wanted = Level.of(key.id) if key.id else need
    return grant.resource.connection == key.connection and wanted in grant.level


def _why(ask: Ask, held: Sequence[Grant], now: datetime) -> Code:
    over = any(grant.until <= now and _passes(grant, ask) for grant in held)
    return Code.ENDED if over else Code.NO_GRANT


def _connection(asks: Sequence[Ask]) -> str:
    """The orchestrator that the call goes to: what is granted on another shows nothing here."""
    return next((key.connection for ask in asks for key in ask.lineage), "")


def _visible(held: Sequence[Grant], connection: str, now: datetime) -> tuple[Visible, list[datetime]]:
    live = [grant for grant in held if grant.starts_at <= now < grant.until and grant.resource.connection == connection]

    def ids(kind: str, level: Level) -> frozenset[str]:
        return frozenset(grant.resource.id for grant in live if grant.resource.kind == kind and level in grant.level)

    visible = Visible(
        all=bool(ids("server", Level.VIEW)),
        pools=ids("pool", Level.VIEW),
        deployments=ids("deployment", Level.VIEW),
        blocks=ids("block", Level.VIEW),
        secrets=ids("block", Level.SECRET),
    )
    return visible, [grant.until for grant in live]


def _ids(grants: Iterator[Grant] | Sequence[Grant]) -> tuple[int, ...]:
    return tuple(sorted({grant.id for grant in grants}))
