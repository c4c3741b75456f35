"""Decide whether a caller's grants cover what a call asks, at one moment. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import (
    ANY,
    Allow,
    Ask,
    Code,
    Drain,
    Grant,
    Principal,
    Refusal,
    Snapshot,
)


class _Used(NamedTuple):
    """The grant by which an ask passes, and until when it does."""

    grant: Grant
    until: datetime


def check(snapshot: Snapshot, principal: Principal, asks: Sequence[Ask], now: datetime) -> Allow | Drain | Refusal:
    """Decide whether all of `asks` are granted now.

    Gives a Drain where some of them pass only by grants that are over and still drain.
    """
    if principal.subject not in snapshot.subjects:
        return Refusal(401, Code.INACTIVE)
    if not now < principal.until:
        return Refusal(401, Code.EXPIRED)
    if not asks:
        return Refusal(403, Code.GUARD)  # a call that asks for nothing is granted nothing
    held = list(_grants_of_caller(snapshot, principal))
    used: list[_Used] = []
    draining: list[Grant] = []
    for ask in asks:
        passed = _live(ask, held, now)
        if passed is not None:
            used += passed
        elif (ending := _draining(ask, held, now)) is not None:
            draining.append(ending)
        else:
            return Refusal(403, _code(ask, held, now), ask)
    if missing := next((ask for ask in asks if ask.missing), None):
        return Refusal(404, Code.NOT_FOUND, missing)
    if draining:
        return Drain(
            _ids([*(one.grant for one in used), *draining]),
            ended=min(grant.until for grant in draining),
            until=min([principal.until, *(one.until for one in used), *(grant.drain_until for grant in draining)]),
        )
    shows = _live_at(held, _connection(asks), now)
    ends = [principal.until, *(one.until for one in used)]
    if any(ask.need == ANY for ask in asks):
        ends += [grant.until for grant in shows]  # what a list shows changes when the first of them ends
    return Allow(_ids(one.grant for one in used), min(ends), shows)


def _grants_of_caller(snapshot: Snapshot, principal: Principal) -> Iterator[Grant]:
    """Yield the caller's grants, live or not: those that it is limited to, or all of its subject's."""
    for pk in snapshot.grants_of.get(principal.subject, ()):
        grant = snapshot.grants.get(pk)
        if grant is None or grant.subject != principal.subject:
            continue
        if principal.grants is None or grant.id in principal.grants:
            yield grant


def holds(snapshot: Snapshot, principal: Principal, connection: str, now: datetime) -> bool:
    """Tell whether the caller has a grant on anything of a connection that is live or drains."""
    return any(
        grant.resource.connection == connection and grant.starts_at <= now < grant.drain_until
        for grant in _grants_of_caller(snapshot, principal)
    )


def nearest(snapshot: Snapshot, principal: Principal, ask: Ask, now: datetime) -> Grant | None:
    """Find the grant that the caller has, or else had, on what `ask` names: for a refusal's words, never to decide."""
    there = [
        grant
        for grant in _grants_of_caller(snapshot, principal)
        if grant.resource in ask.lineage and grant.starts_at <= now
    ]
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


def _code(ask: Ask, held: Sequence[Grant], now: datetime) -> Code:
    over = any(grant.until <= now and _passes(grant, ask) for grant in held)
    return Code.ENDED if over else Code.NO_GRANT


def _connection(asks: Sequence[Ask]) -> str:
    """The connection that the call goes to: grants on another one show nothing here."""
    return next((key.connection for ask in asks for key in ask.lineage), "")


def _live_at(held: Sequence[Grant], connection: str, now: datetime) -> tuple[Grant, ...]:
    return tuple(
        grant for grant in held if grant.starts_at <= now < grant.until and grant.resource.connection == connection
    )


def _ids(grants: Iterator[Grant] | Sequence[Grant]) -> tuple[int, ...]:
    return tuple(sorted({grant.id for grant in grants}))
