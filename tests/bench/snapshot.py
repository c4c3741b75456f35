"""`make bench-snapshot`: the gate with 100,000 tokens and 20,000 grants: its start, memory, one change, and its loop.

The gate is its own process on a real PostgreSQL; what one change costs the loop is measured in this process, without
the database's answer. The loop's lag is the gate's own (`stint_gate_loop_lag_seconds`), while the largest bodies come.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from grants.gate.feed.tables import VIEWS, Tables, ViewRow
from grants.tokens.mint import mint
from tests.bench.figures import say
from tests.bench.gate import postgres
from tests.gate.process import Process
from tests.gate.views import Writer
from tests.real.prefect import free_port
from tests.waiting import until

TOKENS, GRANTS, PEOPLE, RESOURCES, CHANGES = 100_000, 20_000, 5_000, 2_000, 2_000

SEED = f"""
INSERT INTO gate_resources SELECT n, 1, 'deployment', 'd' || n, 'name ' || n, false, 1 FROM generate_series(2, {RESOURCES}) n;
INSERT INTO gate_subjects SELECT n, 'person', true, 1 FROM generate_series(2, {PEOPLE}) n;
INSERT INTO gate_grants SELECT n, 1 + n % {PEOPLE}, 1 + n % {RESOURCES}, 'run', now(), now() + n * interval '1 s' + interval '1 h',
    now() + n * interval '1 s' + interval '1 h', 1 FROM generate_series(2, {GRANTS}) n;
INSERT INTO gate_credentials SELECT n, 'token', sha256(n::text::bytea), 1 + n % {PEOPLE}, 1, 1 + n % {GRANTS},
    now() + n * interval '1 s' + interval '1 h', false, 1 FROM generate_series(2, {TOKENS}) n;
CREATE INDEX ON gate_resources (version); CREATE INDEX ON gate_subjects (version); CREATE INDEX ON gate_grants (version);
CREATE INDEX ON gate_credentials (version); ANALYZE;
"""


def seed(writer: Writer, host: str) -> str:
    """A token that may do everything, and a company's beside it."""
    minted, now = mint("token"), datetime.now(UTC)
    until = now + timedelta(hours=4)
    writer.put(
        connections=[{"id": 1, "slug": "one", "kind": "prefect", "url": "http://127.0.0.1:9/api", "host": host,
                      "environment": "bench", "secret_ref": ""}],
        resources=[{"id": 1, "connection_id": 1, "kind": "server", "remote_id": "server", "name": "it", "retired": False}],
        subjects=[{"id": 1, "kind": "person", "active": True}],
        grants=[{"id": 1, "subject_id": 1, "resource_id": 1, "level": "work", "starts_at": now, "until": until, "drain_until": until}],
        credentials=[{"id": 1, "kind": "token", "digest": minted.digest, "subject_id": 1, "connection_id": 1, "grant_id": 1,
                      "expires_at": until, "revoked": False}],
    )  # fmt: skip
    writer.connection.execute(SEED)
    return minted.token


def memory(pid: int) -> str:
    said = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{name}:\s+(\d+) kB", said)[1]) // 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return f"{now} MB now, {most} MB at most"


def changes(writer: Writer) -> None:
    """What one change costs whoever waits for the loop."""
    tables = Tables()
    for view, columns in VIEWS.items():
        rows: Sequence[ViewRow] = writer.connection.execute(f"SELECT {columns} FROM {view}").fetchall()
        tables = tables.changed({view: rows}, version=1)
    row = writer.connection.execute(f"SELECT {VIEWS['gate_credentials']} FROM gate_credentials WHERE id = 7").fetchone()
    assert row
    took = []
    for number in range(CHANGES):
        digest = number.to_bytes(32)
        began = time.thread_time()
        tables = tables.changed({"gate_credentials": [(number, "token", digest, *row[3:])]}, version=number)
        tables.snapshot(0.0, timedelta())
        took.append((time.thread_time() - began) * 1000)
    took.sort()
    say("CPU of one change, p50", f"{statistics.median(took):.3f} ms", "≤ 1 ms")
    say("CPU of one change, p99", f"{took[int(CHANGES * 0.99)]:.3f} ms", "≤ 1 ms")


def largest(gate: Process, token: str) -> None:
    """Bodies as large as they may be, whatever becomes of them; and changes meanwhile."""
    head = {"Authorization": f"Bearer {token}"}
    log = {"name": "x", "level": 20, "message": "m" * 250, "timestamp": "2026-01-01T00:00:00Z", "flow_run_id": None}
    bodies = {
        "/api/logs/": [json.dumps([log] * 9_900).encode(), b"[" + b"{}," * 9_900 + b"{}]"],
        "/api/flow_runs/filter": [b'{"flow_runs":[' + b"{}," * 80_000 + b"{}]}", b'{"a":"' + b"\\n" * 120_000 + b'"}'],
        "/api/deployments/": [b'{"a":[' + b"1.5," * 99_000 + b"1]}", b'{"a":"' + b"a" * 1_000_000 + b'"}'],
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{gate.port}", headers=head, timeout=30) as client:
        for _ in range(10):
            for path, each in bodies.items():
                for body in each:
                    client.post(path, content=body, headers={"Content-Type": "application/json"})


def lag(gate: Process) -> str:
    text = httpx.get(f"http://127.0.0.1:{gate.admin}/metrics", headers={"Authorization": "Bearer for-metrics"}).text
    counts = [(float(le), float(n)) for le, n in re.findall(r'loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)]
    total = counts[-1][1]
    within = next(le for le, n in counts if n == total)
    return f"{total:.0f} looks, all within {within * 1000:g} ms, {sum(n for le, n in counts if le == 0.005) / total:.0%} within 5 ms"


def main() -> None:
    print(f"{TOKENS:,} tokens, {GRANTS:,} grants, {PEOPLE:,} people; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="stint-bench-") as name, postgres(Path(name)) as writer:
        empty = Process(Path(name), writer.url, free_port(), STINT_GATE_SCHEME="http")
        began = time.monotonic()
        empty.start()
        say("ready after, with nothing to read", f"{time.monotonic() - began:.2f} s")
        assert empty.process
        say("memory with nothing", memory(empty.process.pid))
        empty.stop()
        port = free_port()
        token = seed(writer, f"127.0.0.1:{port}")
        gate = Process(Path(name), writer.url, port)
        began = time.monotonic()
        gate.start()
        try:
            assert gate.process
            say("ready after", f"{time.monotonic() - began:.2f} s", "≤ 2 s")
            loads = re.findall(r'"seconds": ([\d.]+), "event": "feed_loaded"', gate.log.read_text())
            say("of that, reading", f"{loads[-1] if loads else '?'} s")
            say("memory", memory(gate.process.pid), "≤ 120 MB")
            until(lambda: gate.status("/api/admin/version", token) != 401)
            say("the loop's lag after the start", lag(gate), "≤ 50 ms")
            largest(gate, token)
            say("the loop's lag, largest bodies", lag(gate), "≤ 50 ms")
            for n in range(100):
                writer.put(subjects=[{"id": 10_000 + n, "kind": "person", "active": True}])
            say("memory", memory(gate.process.pid))
            changes(writer)
        finally:
            gate.stop()


if __name__ == "__main__":
    main()
