"""Counts of calls, written in batches, and events for the record, written in order.

No call waits for the database here. What the database does not take now is kept and given again. What there is no room
to keep is counted, and that number is recorded.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from grants.gate.decision.types import Proof, Refusal, Snapshot, Upstream
from grants.gate.doors.authorizer import Call
from grants.gate.doors.metrics import LOST, WAITING
from grants.gate.feed.writes import Rejected, Unwritten, Writes

log = structlog.get_logger(__name__)

COUNTS_SECONDS = 5.0
FOLD_SECONDS = 10.0  # equal refusals within this are one event
MOST_COUNTS = 50_000
MOST_EVENTS = 10_000
BATCH = 2_000

type Fact = int | str | bool | list[int] | None


class _Counted(NamedTuple):
    minute: int  # since 1970
    proof: Proof
    route: str
    code: str


class _EqualRefusals(NamedTuple):
    """What makes two refusals equal: ids and words of Stint's, for the record holds nothing that a caller wrote."""

    connection: int
    subject: int | None
    proof: Proof | None
    route: str
    code: str
    need: str
    resource: int | None


class Usage:
    def __init__(self, writes: Writes, name: str) -> None:
        self._writes, self._name = writes, name
        self._counts: Counter[_Counted] = Counter()
        self._folds: dict[_EqualRefusals, tuple[float, int]] = {}  # since when, and how many
        self._events: deque[tuple[str, bytes]] = deque()
        self._lost: Counter[str] = Counter()
        self._written = time.monotonic()

    def count(self, proof: Proof, route: str, code: str) -> None:
        """Count one call, let through ("ok") or refused."""
        key = _Counted(int(time.time()) // 60, proof, route, code)
        if key not in self._counts and len(self._counts) >= MOST_COUNTS:
            self._lose("counts", 1)
        else:
            self._counts[key] += 1

    def event(self, verb: str, **facts: Fact) -> None:
        """Keep an event for the record."""
        if len(self._events) >= MOST_EVENTS:
            self._lose(verb, 1)
        else:
            self._events.append((verb, json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()))

    def refused(
        self, upstream: Upstream | None, call: Call | None, refusal: Refusal, snapshot: Snapshot | None
    ) -> None:
        """Keep a refusal for the record; equal ones become one event with their number."""
        principal = call.principal if call else None
        key = _EqualRefusals(
            upstream.id if upstream else 0,
            principal.subject if principal else None,
            principal.proof if principal else None,
            call.match.route.name if call else "",
            refusal.code,
            (refusal.ask.need.name or "").lower() if refusal.ask else "",
            _resource(refusal, snapshot),
        )
        since, n = self._folds.get(key, (time.monotonic(), 0))
        if n == 0 and len(self._folds) >= MOST_EVENTS:
            self._lose("refused", 1)
        else:
            self._folds[key] = since, n + 1

    async def run(self) -> None:
        """Until cancelled, write what is due, each second."""
        pause = 1.0
        while True:
            await asyncio.sleep(pause)
            try:
                await self.write()
                pause = 1.0
            except Unwritten as error:
                log.warning("gate_not_written", error=str(error), waiting=self.waiting)
                pause = min(pause * 2, 10.0)
            WAITING.set(self.waiting)

    @property
    def waiting(self) -> int:
        return len(self._counts) + len(self._events) + len(self._folds)

    async def write(self, *, everything: bool = False) -> None:
        """Write what is due, or everything. Raises Unwritten; what was not written is kept."""
        self._close_folds(everything=everything)
        await self._write_events()
        if self._counts and (everything or time.monotonic() - self._written >= COUNTS_SECONDS):
            await self._write_counts()
            self._written = time.monotonic()

    def _close_folds(self, *, everything: bool) -> None:
        due = time.monotonic() - FOLD_SECONDS
        for key, (since, n) in tuple(self._folds.items()):
            if everything or since <= due:
                del self._folds[key]
                facts = key._asdict() | (key.proof._asdict() if key.proof else {})
                del facts["proof"]
                self.event("refused", **{name: fact for name, fact in facts.items() if fact not in (None, "")}, n=n)

    async def _write_events(self) -> None:
        while self._events:
            verb, payload = self._events[0]
            try:
                await self._append(verb, payload)
            except Rejected as error:  # the others are written all the same
                log.exception("event_rejected", verb=verb, reason=str(error))
                self._lose(verb, 1)
            self._events.popleft()
        for what, n in tuple(self._lost.items()):
            facts = json.dumps({"n": n, "what": what}, sort_keys=True, separators=(",", ":")).encode()
            await self._append("lost", facts)
            self._lost[what] -= n  # more may have been lost meanwhile
            if not self._lost[what]:
                del self._lost[what]

    async def _append(self, verb: str, payload: bytes) -> None:
        await self._writes.call("SELECT gate_append(%s, %s)", [verb, payload])

    async def _write_counts(self) -> None:
        while self._counts:
            batch = dict(list(self._counts.items())[:BATCH])
            rows = [
                {"minute": datetime.fromtimestamp(key.minute * 60, UTC).isoformat(), "gate": self._name,
                 "credential_id": key.proof.credential, "route": key.route, "code": key.code, "n": n}
                for key, n in batch.items()
            ]  # fmt: skip
            try:
                await self._writes.call("SELECT gate_use(%s::jsonb)", [json.dumps(rows)])
            except Rejected as error:
                log.exception("counts_rejected", reason=str(error))
                self._lose("counts", sum(batch.values()))
            self._counts.subtract(batch)  # more may have been counted meanwhile
            self._counts = +self._counts

    def _lose(self, what: str, n: int) -> None:
        self._lost[what] += n
        LOST.labels(what).inc(n)
        if self._lost[what] == n:
            log.error("gate_has_no_room", what=what)


def _resource(refusal: Refusal, snapshot: Snapshot | None) -> int | None:
    """The nearest resource of the ask's lineage that is in the catalog."""
    if refusal.ask is None or snapshot is None:
        return None
    places = (snapshot.resources.get(key) for key in refusal.ask.lineage)
    return next((place.id for place in places if place is not None), None)
