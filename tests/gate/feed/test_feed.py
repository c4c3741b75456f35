"""The snapshot is the tables, whatever happens between them; and where it may not be, it says so in time."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from grants.gate.decision.types import Snapshot
from grants.gate.feed import snapshot as feeds
from grants.gate.feed.memory import Memory, MemoryUnreadable
from grants.gate.feed.snapshot import Feed, now_of
from tests.gate.loop import run
from tests.gate.views import Writer, database, ground, random_rows

# psycopg leaves a cursor open whose connection was lost before its CLOSE, and warns of it: these tests end connections.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <function ServerCursorMixin.__del__:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def writer(worker_id: str) -> Iterator[Writer]:
    with database(f"feed_{worker_id}") as writer:
        yield writer


@asynccontextmanager
async def following(feed: Feed) -> AsyncIterator[Feed]:
    task = asyncio.create_task(feed.run())
    try:
        assert await feed.until(lambda _: True, seconds=10)
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def said(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot in the form of Writer.everything(), without what is over: that may be there or not."""
    now = now_of(snapshot)
    assert {row_id for ids in snapshot.grants_of.values() for row_id in ids} == set(snapshot.grants)
    assert all(
        snapshot.grants[row_id].subject == subject for subject, ids in snapshot.grants_of.items() for row_id in ids
    )
    return {
        "version": snapshot.version,
        "subjects": set(snapshot.subjects),
        "grants": {
            (one.id, one.subject, tuple(one.resource), one.level.word, one.starts_at, one.until, one.drain_until)
            for one in snapshot.grants.values()
            if one.drain_until > now
        },
        "credentials": {
            (digest, one.id, one.subject, one.connection, one.grant, one.expires_at, one.revoked)
            for digest, one in snapshot.credentials.items()
            if one.expires_at > now
        },
        "places": {(tuple(place.key), place.id, place.name) for place in snapshot.resources.values()},
        "hosts": {host: upstream.slug for host, upstream in snapshot.upstreams.items()},
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_snapshot_is_the_tables(writer: Writer, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random writes, lost notifications, broken lines, versions that go back: after a poll it is the tables."""
    dice = random.Random(seed)
    monkeypatch.setattr(feeds, "PRUNE_SECONDS", 0.3)

    async def story() -> None:
        writer.put(**ground())
        feed = Feed(writer.url, poll=0.02)
        async with following(feed):
            for _ in range(150):
                chance = dice.random()
                if chance < 0.05:
                    writer.break_lines()
                elif chance < 0.1:
                    writer.restore(dice)
                for _ in range(dice.choice([0, 1, 1, 3])):
                    writer.put(notify=dice.random() < 0.5, **random_rows(dice))
                if dice.random() < 0.5:
                    version = writer.connection.execute("SELECT seq FROM head").fetchone()[0]
                    assert await feed.until(lambda seen, version=version: seen.version == version, seconds=5)
                    assert said(feed.fresh()) == writer.everything()

    run(story())
    gc.collect()  # what is left of ended connections warns here, and not in another module


def test_nothing_is_known_before_the_first_reading() -> None:
    feed = Feed("postgresql://nobody@127.0.0.1:1/nothing")
    assert feed.fresh() is None
    assert feed.age is None


def test_a_reading_that_fails_leaves_its_garbage_to_the_collector() -> None:
    frozen = gc.get_freeze_count()
    with pytest.raises(OSError, match="gone"), feeds._without_collecting():
        assert not gc.isenabled()
        raise OSError("gone")
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_what_is_over_is_known_a_day_longer_and_then_forgotten(writer: Writer) -> None:
    """A refusal can say "ended yesterday"; memory does not grow for ever."""
    writer.put(**ground())
    now = datetime.now(UTC)
    for row_id, ended in enumerate([timedelta(hours=1), timedelta(hours=30)]):
        writer.put(grants=[{"id": row_id, "subject_id": 0, "resource_id": 0, "level": "view", "starts_at": now - timedelta(days=9),
                            "until": now - ended, "drain_until": now - ended}],
                   credentials=[{"id": row_id, "kind": "token", "digest": row_id.to_bytes(32), "subject_id": 0,
                                 "connection_id": 0, "grant_id": row_id, "expires_at": now - ended, "revoked": False}])  # fmt: skip

    async def story() -> None:
        async with following(Feed(writer.url)) as feed:
            seen = feed.fresh()
            assert set(seen.grants) == {0}
            assert set(seen.credentials) == {(0).to_bytes(32)}
            tables = feed._tables.pruned(now - timedelta(minutes=30))
            assert (dict(tables.grants), dict(tables.grants_of), dict(tables.credentials)) == ({}, {}, {})

    run(story())


def test_a_change_arrives(writer: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    """By its notification, and without it by the poll. Printed, never asserted: time proves nothing here."""
    writer.put(**ground())

    async def measure(feed: Feed, *, notify: bool) -> list[float]:
        took = []
        for n in range(30):
            await asyncio.sleep(random.random() * 0.1)
            began = time.perf_counter()
            version = await asyncio.to_thread(writer.put, notify=notify, subjects=[{"id": 1, "kind": "person", "active": n % 2 == 0}])  # fmt: skip
            assert await feed.until(lambda seen, version=version: seen.version >= version, seconds=5)
            took.append((time.perf_counter() - began) * 1000)
            assert (1 in feed.fresh().subjects) is (n % 2 == 0)
        return sorted(took)

    async def story() -> None:
        async with following(Feed(writer.url)) as feed:
            for notify in (True, False):
                took = await measure(feed, notify=notify)
                with capsys.disabled():
                    print(
                        f"\n  from the write, {'NOTIFY' if notify else 'poll alone'}: p50 {statistics.median(took):.1f} ms, max {took[-1]:.1f} ms"
                    )

    run(story())


def test_a_frozen_database_is_noticed(writer: Writer) -> None:
    """The line stands and nobody answers on it: too old after `stale` or sooner well again, by a new line."""
    writer.put(**ground())

    async def story() -> None:
        async with following(Feed(writer.url, poll=0.05, stale=0.4)) as feed:
            (pid,) = writer.connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'stint gate'"
            ).fetchone()
            others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stint gate' AND pid <> %s"
            os.kill(pid, signal.SIGSTOP)
            try:
                frozen = time.monotonic()
                # On a quick machine the new line may be there before anything was too old.
                while feed.fresh() is not None and writer.connection.execute(others, [pid]).fetchone() == (0,):
                    assert time.monotonic() - frozen < 20
                    await asyncio.sleep(0.01)
                assert await feed.until(lambda _: True, seconds=10), "the next line reaches another backend"
            finally:
                os.kill(pid, signal.SIGCONT)

    run(story())


def test_a_late_answer_is_not_fresh(writer: Writer) -> None:
    """The time is taken before asking: an answer of three seconds ago says nothing of now."""
    writer.put(**ground())

    async def story() -> None:
        async with following(Feed(writer.url, poll=0.05, stale=0.5)) as feed:
            version = feed.fresh().version
            with psycopg.connect(writer.url.replace("user=stint_gate", "user=postgres")) as other:
                other.execute("LOCK TABLE head IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(0.45)  # the question waits for the lock
                other.rollback()
            await asyncio.sleep(0.1)
            assert feed.age < 0.5
            assert feed.fresh().version == version

    run(story())


def test_the_databases_clock_is_carried_along(writer: Writer) -> None:
    writer.put(**ground())
    writer.connection.execute(
        "CREATE OR REPLACE VIEW gate_head AS SELECT h.seq, clock_timestamp() + interval '1 hour' AS now, e.hash"
        " FROM head h JOIN events e ON e.seq = h.seq"
    )

    async def story() -> None:
        async with following(Feed(writer.url)) as feed:
            ahead = now_of(feed.fresh()) - datetime.now(UTC)
            assert timedelta(minutes=59) < ahead < timedelta(minutes=61)

    run(story())


def _rewind(writer: Writer) -> None:
    with writer.connection.transaction():
        writer.rewind("seq - 1")
        writer.connection.execute("DELETE FROM gate_subjects WHERE id = 99")


def test_a_database_that_went_back_is_not_believed_until_it_is_declared(writer: Writer) -> None:
    """On a line that stands, too (a fail-over behind a proxy): nobody is let through by what it says."""
    writer.put(**ground())
    writer.put(subjects=[{"id": 99, "kind": "person", "active": True}])

    async def story() -> None:
        async with following(Feed(writer.url, poll=0.02)) as feed:
            assert 99 in feed.fresh().subjects
            _rewind(writer)
            await _closed(feed)
            # What is recorded after the restore overtakes the number that was seen, and is another history still.
            for _ in range(3):
                writer.put(subjects=[{"id": 98, "kind": "person", "active": True}])
                writer.break_lines()
                await asyncio.sleep(0.1)
                assert feed.fresh() is None
                assert "record_behind" in feed.behind
            with writer.connection.transaction():
                writer.declare()
            assert await feed.until(lambda seen: seen.version == writer.declared, seconds=5)
            assert 99 not in feed.fresh().subjects
            assert 98 in feed.fresh().subjects
            assert feed.behind == ""
            # The same backup again: a restore that was declared before it was seen declares nothing now.
            writer.put()
            assert await feed.until(lambda seen: seen.version > writer.declared, seconds=5)
            with writer.connection.transaction():
                writer.rewind("seq - 1")
            await _closed(feed)

    run(story())


async def _closed(feed: Feed) -> None:
    async with asyncio.timeout(5):
        while not feed.behind:  # noqa: ASYNC110 (nobody is told)
            await asyncio.sleep(0.01)
    assert feed.fresh() is None


def test_the_same_number_with_another_hash_is_not_believed(writer: Writer) -> None:
    writer.put(**ground())

    async def story() -> None:
        async with following(Feed(writer.url, poll=0.02)) as feed:
            writer.connection.execute("UPDATE events SET hash = sha256('') WHERE seq = (SELECT seq FROM head)")
            await _closed(feed)

    run(story())


def test_what_was_seen_is_remembered_over_a_restart(writer: Writer, tmp_path: Path) -> None:
    """By the gate's own file; by the exported heads where it has none yet."""
    writer.put(**ground())
    version = writer.put(subjects=[{"id": 99, "kind": "person", "active": True}])
    (digest,) = writer.connection.execute("SELECT hash FROM events WHERE seq = %s", [version]).fetchone()
    state, heads = tmp_path / "state", tmp_path / "heads.jsonl"
    heads.write_text(f'{{"seq": {version}, "hash": "{digest.hex()}", "at": "x"}}\n{{"seq": {version}, "ha')

    async def story() -> None:
        memory = Memory(state)
        async with following(Feed(writer.url, memory=memory)):
            memory.write()
        _rewind(writer)
        writer.put()
        writer.put()
        for again in (Memory(state), Memory(None, heads), Memory(tmp_path / "none yet", heads)):
            feed = Feed(writer.url, memory=again)
            task = asyncio.create_task(feed.run())
            await _closed(feed)
            task.cancel()
        async with following(Feed(writer.url)):
            pass  # a gate that has seen nothing believes the database

    run(story())
    for path, exported in ((state, False), (heads, True)):
        path.write_text("nonsense")
        with pytest.raises(MemoryUnreadable):
            Memory(None if exported else path, path if exported else None).known()
