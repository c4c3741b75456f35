"""A cache of what the orchestrator says of ids: bounded, batched, and one request for all callers that ask at once.

Neither a failure nor that something does not exist is remembered: the next caller asks again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from grants.gate.decision.types import Json

_AT_ONCE = 16  # requests to one orchestrator
_SECONDS = 10.0  # for one of these, with the wait for its turn
_BATCH = 100


class LookupFailed(Exception):
    """The orchestrator gave no answer, or none that can be believed: the call is answered 503."""


class Asked(Protocol):
    """An orchestrator that answers JSON to the gate's own questions, asked with the gate's authorization."""

    async def json(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        """Status and body of one answer. `target` is canonical and starts with /api. Raises LookupFailed."""
        ...


class RowSource[Row](NamedTuple):
    """One kind of row: how a batch of keys is fetched (an unknown key is absent), and for how long a row is kept."""

    fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, Row]]]
    seconds: Callable[[Row], float]
    most: int = 20_000


class _CachedRow[Row](NamedTuple):
    row: Row
    until: float


class RowCache[Row]:
    """Rows by kind and key. Callers who ask for one at the same time share one request and its answer."""

    def __init__(self, tables: Mapping[str, RowSource[Row]], clock: Callable[[], float] = time.monotonic) -> None:
        self._tables = tables
        self._clock = clock
        self._held: dict[str, OrderedDict[str, _CachedRow[Row]]] = {kind: OrderedDict() for kind in tables}
        self._asked: dict[tuple[str, str], asyncio.Future[Row | None]] = {}
        self._batch: dict[str, dict[str, asyncio.Future[Row | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def get(self, kind: str, key: str) -> Row | None:
        held = self._held[kind].get(key)
        if held is not None and self._clock() < held.until:
            self._held[kind].move_to_end(key)
            return held.row
        future = self._asked.get((kind, key))
        if future is None:
            future = self._ask(kind, key)
        return await asyncio.shield(future)  # a caller who leaves does not take the answer from the others

    def put(self, kind: str, key: str, row: Row, asked_at: float) -> None:
        """Keep a row that came with another answer, which was asked for at `asked_at`."""
        held = self._held[kind]
        held[key] = _CachedRow(row, asked_at + self._tables[kind].seconds(row))
        held.move_to_end(key)
        while len(held) > self._tables[kind].most:
            held.popitem(last=False)

    def forget(self, kind: str, key: str | None = None) -> None:
        """Drop a row, or all of a kind. An answer on its way still serves those who wait for it, and is not kept."""
        if key is not None:
            self._held[kind].pop(key, None)
        else:
            self._held[kind].clear()
        waiting = self._batch.get(kind, {})  # not sent yet: their answer will be new
        for asked in [asked for asked in self._asked if asked[0] == kind and key in (None, asked[1])]:
            if asked[1] not in waiting:
                del self._asked[asked]

    def _ask(self, kind: str, key: str) -> asyncio.Future[Row | None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Row | None] = loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it any more
        self._asked[kind, key] = future
        batch = self._batch.setdefault(kind, {})
        if not batch:  # the first in this iteration of the loop: all keys that join before its end are sent with it
            loop.call_soon(self._send, kind)
        batch[key] = future
        return future

    def _send(self, kind: str) -> None:
        waiting = list(self._batch.pop(kind).items())
        for start in range(0, len(waiting), _BATCH):
            task = asyncio.create_task(self._fetch(kind, dict(waiting[start : start + _BATCH])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, kind: str, waiting: Mapping[str, asyncio.Future[Row | None]]) -> None:
        asked_at = self._clock()
        rows: Mapping[str, Row] = {}
        failure: LookupFailed | None = None
        try:
            async with asyncio.timeout(_SECONDS), self._turn:
                rows = await self._tables[kind].fetch(list(waiting))
        except LookupFailed as error:
            failure = error
        except Exception as error:  # noqa: BLE001 (an unreadable answer or a failed transport: nothing is known)
            failure = LookupFailed(f"{kind}: {type(error).__name__}")
            failure.__cause__ = error
        for key, future in waiting.items():
            if self._asked.get((kind, key)) is future:
                del self._asked[kind, key]
                if key in rows:
                    self.put(kind, key, rows[key], asked_at)
            if future.done():
                continue
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(rows.get(key))
