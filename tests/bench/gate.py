"""`make bench-gate`: what the gate costs, and how soon it refuses, measured on this machine in one run.

All parts are real: the gate's process, PostgreSQL, Prefect on its SQLite. Prefect has the first core to itself, or what
is measured is who of them gets it; everything else shares the rest. Its background services are off: while they mark
200 runs as late it answers half as much. The rounds of both ways take turns, and the ratio is of neighbours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from grants.adapters.http import basic
from grants.tokens.mint import mint
from portal.embedded import ROLES, Postgres, stop
from tests import plugin
from tests.bench import alone, revoked
from tests.bench.figures import cpu, say, spread
from tests.gate.prefect.world import Upstream
from tests.gate.process import Process
from tests.gate.recorder import recorder
from tests.gate.views import Writer, database
from tests.real.prefect import PrefectServer, free_port, running_prefect

CLIENTS, ROUNDS, CALLS = 8, 25, 80  # many short ones: a neighbour's burst spoils some of them, not the median
ALONE = 20  # calls of one caller, who waits for each answer
AUTH = "gate:of-the-bench"
FAST_HOST = "fast.test"  # an orchestrator that answers at once: for what has nothing to do with Prefect
FAST = 2  # the rows of its connection, resource, grant and credential


class Asked(NamedTuple):
    name: str
    method: str
    path: str
    body: Any = None
    narrowed: Any = None  # what the gate asks instead: a list costs Prefect more where it is held to some deployments


class Way(NamedTuple):
    url: str
    headers: Mapping[str, str]
    pid: int


class Round(NamedTuple):
    per_second: float
    p50: float  # ms
    cpu: float  # that the process asked has used


async def round_of(
    session: aiohttp.ClientSession, way: Way, ask: Asked, calls: int = CALLS, clients: int = CLIENTS
) -> Round:
    """`calls` calls by `clients` callers, each with its next one as soon as it has its last answer."""
    left, took = iter(range(calls)), []
    body = {} if ask.body is None else {"json": ask.body}

    async def caller() -> None:
        for _ in left:
            began = time.perf_counter()
            while True:
                async with session.request(ask.method, way.url + ask.path, headers=way.headers, **body) as answer:
                    raw = await answer.read()
                if answer.status != 503:  # SQLite, busy
                    break
            assert answer.status in (200, 204), (ask.name, answer.status, raw)
            took.append(time.perf_counter() - began)

    used, began = cpu(way.pid), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(clients)))
    return Round(calls / (time.perf_counter() - began), statistics.median(took) * 1000, cpu(way.pid) - used)


async def compare(direct: Way, gate: Way, asks: Sequence[Asked]) -> None:
    print(f"\nThrough the gate, and straight to Prefect: {CLIENTS} callers, {ROUNDS} rounds of {CALLS} calls each way,"
          f" then one caller, {ALONE} calls; min / median / max")  # fmt: skip
    used = 0.0
    async with aiohttp.ClientSession() as session:
        for ask in asks:
            straight = {"as it is asked": ask}
            if ask.narrowed is not None:
                straight["narrowed by hand"] = ask._replace(body=ask.narrowed)
            ways = [(gate, ask), *((direct, one) for one in straight.values())]
            for way, one in ways:
                await round_of(session, way, one, 2 * CLIENTS)
            many = [await _in_turn(session, ways, number, CALLS, CLIENTS) for number in range(ROUNDS)]
            alone = [await _in_turn(session, ways, number, ALONE, 1) for number in range(ROUNDS)]
            used += sum(each[0].cpu for each in many)
            for place, name in enumerate(straight, 1):
                print(f"  {ask.name}, against the same straight to Prefect, {name}")
                say("  straight, requests per second", spread([each[place].per_second for each in many], digits=0))
                ratios = [each[0].per_second / each[place].per_second for each in many]
                say("  ratio of throughput", spread(ratios), "≥ 0.95")
                for who, rounds in ((f"{CLIENTS} callers", many), ("one caller", alone)):
                    added = [each[0].p50 - each[place].p50 for each in rounds]
                    say(f"  added to the median, {who}", spread(added, " ms"), "≤ 2 ms")
    say("the gate's process, requests per CPU-second", f"{ROUNDS * CALLS * len(asks) / used:.0f}")


async def _in_turn(
    session: aiohttp.ClientSession, ways: Sequence[tuple[Way, Asked]], number: int, calls: int, clients: int
) -> list[Round]:
    """A round each way, in the order of `ways`; another one begins each time."""
    rounds: dict[int, Round] = {}
    for step in range(len(ways)):
        place = (number + step) % len(ways)
        rounds[place] = await round_of(session, *ways[place], calls, clients)
    return [rounds[place] for place in range(len(ways))]


async def yardstick(gate: Way, folder: Path) -> None:
    """What is left of the gate when the orchestrator costs nothing, beside what answers without asking anybody."""
    print(
        f"\nAgainst an orchestrator that answers at once, and nginx's `return 204`: {CLIENTS} callers; min / median / max"
    )
    ask = Asked("", "GET", "/api/admin/version")
    async with aiohttp.ClientSession() as session:
        await _costs(session, gate, ask, "the gate")
        program = os.environ.get("NGINX") or shutil.which("nginx")
        if program is None:
            say("nginx", "not measured: there is none here; NGINX=path names one")
            return
        with nginx(program, folder) as way:
            await _costs(session, way, ask, "nginx")


async def _costs(session: aiohttp.ClientSession, way: Way, ask: Asked, name: str) -> None:
    calls = 10 * CALLS
    await round_of(session, way, ask)
    rounds = [await round_of(session, way, ask, calls) for _ in range(ROUNDS)]
    say(f"{name}: requests per second, with these callers", spread([one.per_second for one in rounds], digits=0))
    say(f"{name}: requests per CPU-second", f"{calls * ROUNDS / max(sum(one.cpu for one in rounds), 0.01):.0f}")


@contextmanager
def nginx(program: str, folder: Path) -> Iterator[Way]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        "events {}\n"
        f"http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/body;\n"
        f"  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;\n"
        f"  scgi_temp_path {folder}/scgi; server {{ listen 127.0.0.1:{port}; return 204; }} }}\n"
    )
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield Way(f"http://127.0.0.1:{port}", {}, process.pid)
    finally:
        stop(process)


# The parts.


@contextmanager
def postgres(folder: Path) -> Iterator[Writer]:
    """The gate's views in a PostgreSQL of its own."""
    folder.chmod(0o755)  # PostgreSQL runs as nobody when this is root
    server = Postgres(folder / "pg", free_port())
    server.start(*plugin.FAST)
    try:
        server.roles(dict.fromkeys(ROLES, "test"))
        os.environ["STINT_TEST_SUPERUSER_URL"] = server.superuser
        with database("bench") as writer:
            writer.url = f"postgresql://stint_gate@/bench?host={server.socket}&port={server.port}"
            yield writer
    finally:
        server.stop()


def seed(url: str) -> tuple[str, list[Asked]]:
    """A pool with 20 deployments and 200 runs. Tells the pool's id, and what is asked."""
    upstream = Upstream(url, AUTH)

    def make(path: str, **body: Any) -> str:
        return str(upstream.do("POST", path, body)["id"])

    pool = make("/work_pools/", name="etl", type="process")
    flow = make("/flows/", name="etl")
    made = [make("/deployments/", name=f"d{n}", flow_id=flow, work_pool_name="etl") for n in range(20)]
    for deployment in made:
        for _ in range(10):
            make(f"/deployments/{deployment}/create_flow_run")
    upstream.http.close()
    body = {"limit": 10}
    narrowed = {**body, "deployments": {"id": {"any_": sorted(made)}}}
    return pool, [
        Asked("GET work pool", "GET", "/api/work_pools/etl"),
        Asked("GET deployment", "GET", f"/api/deployments/{made[0]}"),
        Asked("POST deployments/filter", "POST", "/api/deployments/filter", body, narrowed),
        Asked("POST flow_runs/filter", "POST", "/api/flow_runs/filter", body, narrowed),
    ]


def grant(writer: Writer, *, prefect: tuple[str, str], fast: str, pool: str) -> dict[str, str]:
    """`view` on the pool and on all of the fast one, for one person. Tells the tokens by host."""
    now = datetime.now(UTC)
    until = now + timedelta(hours=4)
    hosts = {prefect[0]: prefect[1], FAST_HOST: fast}
    tokens = {host: mint("token") for host in hosts}
    writer.put(
        connections=[
            {"id": row, "slug": f"c{row}", "kind": "prefect", "url": url, "host": host, "environment": "bench",
             "secret_ref": "env:PREFECT_AUTH"}
            for row, (host, url) in enumerate(hosts.items(), 1)
        ],
        resources=[
            {"id": row, "connection_id": row, "kind": kind, "remote_id": remote, "name": "etl", "retired": False}
            for row, (kind, remote) in enumerate((("pool", pool), ("server", "server")), 1)
        ],
        subjects=[{"id": 1, "kind": "person", "active": True}],
        grants=[
            {"id": row, "subject_id": 1, "resource_id": row, "level": "view", "starts_at": now, "until": until,
             "drain_until": until}
            for row in (1, FAST)
        ],
        credentials=[
            {"id": row, "kind": "token", "digest": minted.digest, "subject_id": 1, "connection_id": row,
             "grant_id": row, "expires_at": until, "revoked": False}
            for row, minted in enumerate(tokens.values(), 1)
        ],
    )  # fmt: skip
    return {host: f"Bearer {minted.token}" for host, minted in tokens.items()}


async def measure(folder: Path, writer: Writer, prefect: PrefectServer) -> None:
    pool, asks = seed(prefect.url)
    port = free_port()
    host, url = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    async with recorder() as fast:
        tokens = grant(writer, prefect=(host, prefect.url), fast=f"http://127.0.0.1:{fast.port}/api", pool=pool)
        gate = Process(folder, writer.url, port, PREFECT_AUTH=AUTH, STINT_LOG_LEVEL="WARNING")
        await asyncio.to_thread(gate.start)
        assert gate.process is not None
        try:
            ways = {
                name: Way(url, {"Host": name, "Authorization": one}, gate.process.pid) for name, one in tokens.items()
            }
            straight = Way(prefect.url.removesuffix("/api"), basic(AUTH), prefect.process.pid)
            await compare(straight, ways[host], asks)
            await yardstick(ways[FAST_HOST], folder)
            fast.got.clear()
            await revoked.measure(writer, url, FAST_HOST, connection=FAST, grant=FAST)
        finally:
            gate.stop(signal.SIGKILL)


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile stays on these; no cores: where it likes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def main() -> None:
    first, *rest = sorted(os.sched_getaffinity(0))
    apart = {first} if rest else set[int]()
    shared = f"Prefect on core {first}, all else on {rest}" if rest else "one for all"
    print(f"{1 + len(rest)} cores ({shared}), load {os.getloadavg()[0]:.1f} when it began")
    alone.measure()
    with tempfile.TemporaryDirectory(prefix="stint-bench-") as name, ExitStack() as after:
        folder = Path(name)
        home = folder / "prefect"
        home.mkdir()
        settings = dict.fromkeys(("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"), AUTH)
        with on(apart):
            prefect = after.enter_context(running_prefect(home, "--no-services", **settings))
        with on(set(rest)):
            writer = after.enter_context(postgres(folder))
            uvloop.run(measure(folder, writer, prefect))
    print(f"\nload {os.getloadavg()[0]:.1f} when it ended")


if __name__ == "__main__":
    main()
