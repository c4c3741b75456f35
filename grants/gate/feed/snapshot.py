"""The feed: keeps a current Snapshot in memory, by NOTIFY and, in case one is lost, by polling the version."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from psycopg import AsyncConnection, IsolationLevel

from grants.gate.decision.types import Snapshot
from grants.gate.feed.memory import NONE, Head, Memory, MemoryUnreadable
from grants.gate.feed.tables import VIEWS, Tables, ViewRow, touched

log = structlog.get_logger(__name__)

HEAD = "SELECT seq, now, hash FROM gate_head"
CONTINUES = "SELECT gate_continues(%s, %s)"
KEPT = timedelta(days=1)  # what has ended is kept so long, so that a refusal can say that it ended
_STEP = 500  # rows in one step of loading, which takes a few ms
PRUNE_SECONDS = 3600.0
LONGEST_PAUSE = 2.0  # seconds between two tries to connect


class RecordBehind(Exception):
    """The database does not continue what was seen: a backup was restored, or the record was changed."""

    def __init__(self, known: Head, found: Head) -> None:
        super().__init__(
            f"record_behind: {known} was seen, and the database, at {found}, does not continue it. If a backup was"
            " restored, declare it by `manage.py after_restore` (docs/operations.md)."
        )


class Feed:
    """One connection to the database, and the snapshot that was read by it.

    Decisions get the snapshot by `fresh()` alone, which gives None as soon as the last successful check was begun more
    than `stale` seconds ago, for whatever reason.
    """

    def __init__(
        self, database_url: str, *, poll: float = 0.1, stale: float = 2.0, memory: Memory | None = None
    ) -> None:
        self.database_url, self.poll, self.stale = database_url, poll, stale
        self.memory = memory or Memory()
        self.behind = ""  # why this database is not believed, in a sentence; "" while it is
        # Called in the loop with each new version and the subjects whose access it may have changed (None: all).
        self.listeners: list[Callable[[Snapshot, frozenset[int] | None], None]] = []
        self._tables, self._head = Tables(), NONE
        self._snapshot: Snapshot | None = None
        self._offset = timedelta()
        self._moved = asyncio.Event()
        self._pruned = time.monotonic()

    def fresh(self) -> Snapshot | None:
        """The snapshot, unless it may be out of date."""
        snapshot = self._snapshot
        return snapshot if snapshot and time.monotonic() - snapshot.checked_at <= self.stale else None

    @property
    def age(self) -> float | None:
        """Seconds since the last successful check was begun; None before the first."""
        return None if self._snapshot is None else time.monotonic() - self._snapshot.checked_at

    async def until(self, holds: Callable[[Snapshot], bool], *, seconds: float) -> bool:
        """Wait until a fresh snapshot is as wanted; give False if none was by then."""
        try:
            async with asyncio.timeout(seconds):
                while (snapshot := self.fresh()) is None or not holds(snapshot):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until cancelled, connect, read everything and follow changes; begin again when that fails."""
        pause = 0.05
        while True:
            try:
                async with self._connected() as connection:
                    # Before the first reading, so that no change after it is missed.
                    await connection.execute("LISTEN stint")
                    await self._guarded(connection, self._load, patience=max(30.0, self.stale))
                    log.info("feed_follows", version=self._tables.version)
                    pause = 0.05
                    await self._follow(connection)
            except (RecordBehind, MemoryUnreadable) as error:
                self._close(str(error))
            except (psycopg.Error, OSError) as error:
                log.warning("feed_waits_for_database", error=str(error), age=self.age)
            except Exception:
                # The next try reads everything anew; until then the snapshot grows stale and nobody is let through.
                log.exception("feed_failed")
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (so that gates do not all connect at the same moment)
            pause = min(pause * 2, LONGEST_PAUSE)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        connection = await AsyncConnection.connect(
            self.database_url,
            autocommit=True,
            connect_timeout=2,
            application_name="stint gate",
            options="-c statement_timeout=30s",
            tcp_user_timeout=2000,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=2,
        )
        try:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            yield connection
        finally:
            await connection.close()

    async def _follow(self, connection: AsyncConnection) -> None:
        """Until the connection breaks, read what is new on each notification, and check every `poll` seconds."""
        while True:
            woken = False
            async for _ in connection.notifies(timeout=self.poll, stop_after=1):
                woken = True
            async for _ in connection.notifies(timeout=0):
                pass  # one reading serves all notifications that have come meanwhile
            await self._guarded(connection, self._delta if woken else self._check, patience=self.stale)
            if time.monotonic() - self._pruned > PRUNE_SECONDS:
                self._tables = self._tables.pruned(datetime.now(UTC) + self._offset - KEPT)
                self._pruned = time.monotonic()

    async def _guarded(
        self, connection: AsyncConnection, ask: Callable[[AsyncConnection], Awaitable[None]], *, patience: float
    ) -> None:
        """Ask, and break the connection if there is no answer in time.

        A cancelled query would not do: psycopg waits for the server to confirm the cancellation, and a server that is
        frozen or cut off never does.
        """
        timer = asyncio.get_running_loop().call_later(patience, _break_connection, connection)
        try:
            await ask(connection)
        finally:
            timer.cancel()

    def _close(self, why: str) -> None:
        """Drop the snapshot at once: nobody is let through by a database that is not believed."""
        if why != self.behind:
            log.error("feed_record_behind", reason=why)
        self._snapshot, self.behind = None, why

    async def _check(self, connection: AsyncConnection) -> None:
        asked, wall = time.monotonic(), datetime.now(UTC)
        head, now = await _head(connection)
        if head == self._head:
            self._publish(asked, now - wall)
        else:
            await self._delta(connection)

    async def _delta(self, connection: AsyncConnection) -> None:
        """Read what has changed since our version, or everything after a restore that was declared."""
        asked, wall = time.monotonic(), datetime.now(UTC)
        since = self._tables.version
        changes: dict[str, Sequence[ViewRow]] = {}
        async with connection.pipeline(), connection.transaction():
            continues = await connection.execute(CONTINUES, self._head)
            asked_head = await connection.execute(HEAD)
            cursors = {
                view: await connection.execute(f"SELECT {columns} FROM {view} WHERE version > %s", [since])  # noqa: S608
                for view, columns in VIEWS.items()
            }
            head, now = _head_of(await asked_head.fetchone())
            said = await continues.fetchone()
            for view, cursor in cursors.items():
                changes[view] = await cursor.fetchall()
        if _or_behind(said, self._head, head) == "restored":
            await self._load(connection)
            return
        self._tables = self._tables.changed(changes, version=head.seq)
        self._head = head
        self._publish(asked, now - wall, touched(changes))

    async def _load(self, connection: AsyncConnection) -> None:
        began = asked = time.monotonic()
        wall, tables = datetime.now(UTC), Tables.opened()
        known = self.memory.known()  # read before the database, which can only be newer
        with _without_collecting():
            async with connection.transaction():
                head, now = await _head(connection)
                said = await (await connection.execute(CONTINUES, known)).fetchone()
                if _or_behind(said, known, head) == "restored":
                    log.warning("feed_follows_restored", known=str(known), found=str(head))
                for view, columns in VIEWS.items():
                    ends = {"gate_grants": "drain_until", "gate_credentials": "expires_at"}.get(view)
                    # A server-side cursor: only the rows of one step are in memory here.
                    async with connection.cursor(name="feed", binary=True) as cursor:
                        await cursor.execute(
                            f"SELECT {columns} FROM {view}" + (f" WHERE {ends} > %s" if ends else ""),  # noqa: S608
                            [now - KEPT] if ends else None,
                        )
                        while rows := await cursor.fetchmany(_STEP):
                            tables = tables.changed({view: rows}, version=head.seq)
                            await asyncio.sleep(0)  # calls are answered between two steps, by the snapshot of before
        self._tables = tables._replace(version=head.seq).shut()
        self._head = head
        self._publish(asked, now - wall)
        log.info("feed_loaded", version=head.seq, credentials=len(tables.credentials), grants=len(tables.grants),
                 seconds=round(time.monotonic() - began, 2))  # fmt: skip

    def _publish(self, asked: float, offset: timedelta, whose: frozenset[int] | None = None) -> None:
        """Replace the snapshot. `asked` was read before asking, so that an answer that was held up is not fresh.

        The offset was computed with a time from before the question, too: it is too large by at most the answer's
        delay, so access ends early by that, and never late.
        """
        before, self._offset = self._snapshot, offset
        self._snapshot = self._tables.snapshot(asked, offset)
        self.behind = ""
        self.memory.saw(self._head)
        if before is None or before.version != self._snapshot.version:
            for tell in self.listeners:
                tell(self._snapshot, whose)
        if before is None or before.version != self._snapshot.version or asked - before.checked_at > self.stale:
            self._moved.set()
            self._moved = asyncio.Event()


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Keep the garbage collector off while many objects are made that stay: it would block the loop again and again.

    They are frozen at the end, but not after a failure: then they are garbage, and frozen garbage is never collected.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def _head(connection: AsyncConnection) -> tuple[Head, datetime]:
    return _head_of(await (await connection.execute(HEAD)).fetchone())


def _head_of(row: ViewRow | None) -> tuple[Head, datetime]:
    assert row  # the view always has one row
    seq, now, digest = row
    return Head(seq, bytes(digest)), now


def _or_behind(said: ViewRow | None, known: Head, found: Head) -> str:
    """ "yes", or "restored" where a restore was declared. Raises RecordBehind."""
    if said is None or said[0] not in ("yes", "restored"):
        raise RecordBehind(known, found)
    return str(said[0])


def _break_connection(connection: AsyncConnection) -> None:
    """Shut a connection's TCP socket, so that whatever waits on it gets an error at once."""
    if connection.closed:
        return
    log.warning("feed_line_broken", reason="no answer in time")
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def now_of(snapshot: Snapshot) -> datetime:
    """The time of the database, by which every decision is made."""
    return datetime.now(UTC) + snapshot.clock_offset
