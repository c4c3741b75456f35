"""The real Prefect behind the gate, with its auth string: its own clients do their work, and nobody else gets in."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from aiohttp import web
from playwright.sync_api import sync_playwright

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import ByCredential, Credential, Upstream
from grants.gate.prefect.kind import PREFECT
from grants.tokens.mint import mint
from tests.gate.loop import run
from tests.gate.serving import serving
from tests.gate.toy import Gate, Papers, gate
from tests.real.prefect import PYTHON, Patient, PrefectServer, missing, running_prefect

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
AUTH = "admin:known-to-the-gate-alone"

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("prefect-real")]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that answers only who knows the auth string, with the demo's pools and deployments."""
    home = tmp_path_factory.mktemp("locked")
    with running_prefect(home, PREFECT_SERVER_API_AUTH_STRING=AUTH, PREFECT_API_AUTH_STRING=AUTH) as server:
        env = {**server.env, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [PYTHON, "-m", "portal.demo.prefect_seed"], env=env, check=True, capture_output=True, timeout=120
        )
        yield server


class Direct:
    """What is really there, asked with the auth string."""

    def __init__(self, server: PrefectServer) -> None:
        self._url = server.url

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, body: object) -> Any:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        name, word = AUTH.split(":")
        with httpx.Client(transport=Patient(), auth=(name, word), timeout=20) as client:
            return client.request(method, self._url + path, **more).raise_for_status().json()

    def pool(self, name: str) -> str:
        return str(self.get(f"/work_pools/{name}")["id"])

    def deployment(self, name: str) -> str:
        return str(self.get(f"/deployments/name/{name}")["id"])

    def states(self, deployment: str) -> list[str]:
        runs = self.post("/flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}, "sort": "START_TIME_ASC"})
        return [run["state_type"] for run in runs]


def tasks_of(direct: Direct, deployment: str) -> list[tuple[str, str]]:
    tasks = direct.post("/task_runs/filter", {"deployments": {"id": {"any_": [deployment]}}})
    return sorted((task["name"].rpartition("-")[0], task["state_type"]) for task in tasks)


def papers_for(server: PrefectServer, secret: Path) -> Papers:
    papers = Papers()
    secret.write_text(AUTH)
    papers.upstream = Upstream("toy", "prefect", "", server.url, "test", f"file:{secret}", 7)
    return papers


def known_as(door: Gate) -> None:
    """By the address at which its clients reach it."""
    door.papers.upstream = door.papers.upstream._replace(host=f"127.0.0.1:{door.port}")
    door.changed()


def grant(papers: Papers, level: Level, kind: str, key: str) -> str:
    number = papers.grant(level)
    papers.grants[number] = papers.grants[number]._replace(resource=Key("toy", kind, key))
    return papers.token(number)


async def prefect(server: PrefectServer, door: Gate, token: str, *arguments: str) -> asyncio.subprocess.Process:
    """Prefect's command line as somebody with a token has it."""
    return await client(server, door, token, "-m", "prefect", *arguments)


async def client(server: PrefectServer, door: Gate, token: str, *arguments: str) -> asyncio.subprocess.Process:
    """A Python with Prefect's client, as somebody with a token has it."""
    env = {name: value for name, value in server.env.items() if "AUTH_STRING" not in name} | {
        "PREFECT_HOME": server.env["PREFECT_HOME"] + "-client",
        "PREFECT_API_URL": f"http://127.0.0.1:{door.port}/api",
        "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Authorization": f"Bearer {token}"}),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_RUNNER_HEARTBEAT_FREQUENCY": "30",
    }
    return await asyncio.create_subprocess_exec(
        PYTHON, *arguments, env=env, cwd=str(ROOT), start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def said(process: asyncio.subprocess.Process, *, seconds: float = 90) -> str:
    async with asyncio.timeout(seconds):
        out, _ = await process.communicate()
    return out.decode(errors="replace")


async def until(holds: Any, *, seconds: float = 60, why: Any = str) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(0.2)


def test_nobody_gets_past_the_gate(locked: PrefectServer) -> None:
    for path in ("/admin/version", "/work_pools/etl", "/csrf-token?client=x"):
        assert httpx.get(locked.url + path).status_code == 401
    assert httpx.get(locked.url + "/health").status_code == 200


def test_a_run_from_its_start_to_its_end(locked: PrefectServer, tmp_path: Path) -> None:
    """As granted: the command line starts a run, not its sibling; a worker runs it; its tasks are all written down."""
    direct = Direct(locked)
    nightly, backfill = direct.deployment("orders/nightly"), direct.deployment("orders/backfill")

    async def story() -> None:
        papers = papers_for(locked, tmp_path / "secret")
        runs, works = (
            grant(papers, Level.RUN, "deployment", nightly),
            grant(papers, Level.WORK, "pool", direct.pool("etl")),
        )
        async with gate(papers, kind=PREFECT) as door:
            known_as(door)
            started = await prefect(locked, door, runs, "deployment", "run", "orders/nightly")
            output = await said(started)
            assert started.returncode == 0, output
            sibling = await prefect(locked, door, runs, "deployment", "run", "orders/backfill")
            output = await said(sibling)
            assert sibling.returncode != 0
            assert "/requests/new?" in output.replace("\n", ""), output
            assert direct.states(backfill) == []
            worker = await prefect(
                locked, door, works, "worker", "start", "--pool", "etl", "--type", "process", "--run-once"
            )
            output = await said(worker)
            assert worker.returncode == 0, output
            await until(lambda: direct.states(nightly) == ["COMPLETED"])
            # Task runs are written from events alone: all of them passed the socket, and none was left out.
            await until(
                lambda: tasks_of(direct, nightly) == [("extract", "COMPLETED"), ("load", "COMPLETED")],
                why=lambda: str(door.usage._counts),
            )
            refused = {
                key: n for key, n in door.usage._counts.items() if key.proof == ByCredential(2) and key.code != "ok"
            }
            assert not refused, "nothing that a worker does is refused"
            await door.usage.write(everything=True)
            events = [(values[0], json.loads(values[1])) for sql, values in door.writes.calls if "append" in sql]
            (started_run,) = [facts["run"] for verb, facts in events if verb == "run_started"]
            assert direct.get(f"/flow_runs/{started_run}")["deployment_id"] == nightly

    run(story(), seconds=240)


def test_a_secret_is_loaded_and_nothing_is_complained_of(locked: PrefectServer, tmp_path: Path) -> None:
    """Secret.load tells of itself on /events/in: refused, it prints that the events cannot be reached."""
    direct = Direct(locked)
    block = direct.get("/block_types/slug/secret/block_documents/name/warehouse-password")["id"]
    loads = "from prefect.blocks.system import Secret; print(Secret.load('warehouse-password').get())"

    async def story() -> None:
        papers = papers_for(locked, tmp_path / "secret")
        token = grant(papers, Level.SECRET, "block", block)
        async with gate(papers, kind=PREFECT) as door:
            known_as(door)
            loading = await client(locked, door, token, "-c", loads)
            output = await said(loading)
            assert loading.returncode == 0, output
            assert output.splitlines()[0] == "only-for-the-demo"
            assert "Unable to connect" not in output
            told = {"filter": {"resource": {"id": [f"prefect.block-document.{block}"]}}}
            await until(lambda: "prefect.block.secret.loaded" in str(direct.post("/events/filter", told)))

    run(story(), seconds=240)


@asynccontextmanager
async def portal(door_port: list[int], visits: list[str]) -> AsyncIterator[str]:
    """Sends a browser straight back with a ticket: who it is has been settled."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        visits.append(request.path)
        if request.path != "/gate/enter":
            return web.Response(text="the portal")
        back = {"ticket": mint("ticket").token, "to": request.query["to"]}
        return web.Response(
            status=302, headers={"Location": f"http://127.0.0.1:{door_port[0]}/.stint/enter?{urlencode(back)}"}
        )

    async with serving(handle) as port:
        yield f"http://127.0.0.1:{port}"


def admit(door: Gate) -> None:
    """The database's half of entering: the session is known a moment later."""

    async def call(sql: str, values: list[Any]) -> object:
        if "gate_redeem" not in sql:
            return None
        number = len(door.papers.credentials) + 1
        later = datetime.now(UTC) + timedelta(hours=1)
        session = Credential(number, "gate_session", values[3], 1, "toy", None, later, False)
        door.papers.credentials[values[3]] = session
        asyncio.get_running_loop().call_later(0.05, door.changed)
        return (1, "toy")

    door.writes.call = call  # type: ignore[method-assign, assignment]


def look(url: str, revoke: Any) -> dict[str, Any]:
    """What a browser sees: the way in, some pages, and what is left after the session was revoked."""
    seen: dict[str, Any] = {"statuses": [], "hosts": set(), "refused": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context()
        page = context.new_page()
        page.on("response", lambda response: seen["statuses"].append((response.status, response.url)))
        page.on("requestfinished", lambda request: seen["hosts"].add(urlsplit(request.url).netloc))
        page.on(
            "console",
            lambda said: seen["refused"].append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.goto(url + "/work-pools?x=1")
        page.get_by_text("etl", exact=True).first.wait_for(timeout=60_000)
        seen["url"] = page.url
        seen["cookies"] = {cookie["name"]: cookie for cookie in context.cookies()}
        page.goto(url + "/deployments")
        page.get_by_text("nightly", exact=True).first.wait_for(timeout=60_000)
        seen["granted"] = list(seen["statuses"])
        revoke()  # from here on the open page is rightly refused whatever it asks for
        page.goto(url + "/leftover")
        seen["after"] = page.url
        browser.close()
    return seen


def test_a_browser_gets_in_by_the_portal(locked: PrefectServer, tmp_path: Path) -> None:
    """Chromium takes the gate's cookies on plain http of loopback; Prefect's pages work, and talk to nobody else."""
    if CHROMIUM is None:
        missing("Chromium")

    async def story() -> None:
        papers = papers_for(locked, tmp_path / "secret")
        grant(papers, Level.VIEW, "server", "server")
        port, visits = [0], []
        async with portal(port, visits) as url, gate(papers, kind=PREFECT, portal=url, scheme="http") as door:
            port[0] = door.port
            known_as(door)
            admit(door)
            loop = asyncio.get_running_loop()

            def revoke() -> None:
                papers.revoke()
                loop.call_soon_threadsafe(door.changed)
                time.sleep(0.2)

            seen = await asyncio.to_thread(look, f"http://127.0.0.1:{door.port}", revoke)
        assert seen["url"] == f"http://127.0.0.1:{door.port}/work-pools?x=1"
        session = seen["cookies"]["__Host-stint-gate"]
        assert (session["secure"], session["httpOnly"], session["sameSite"], session["path"]) == (
            True,
            True,
            "Lax",
            "/",
        )
        assert not [one for one in seen["granted"] if one[0] >= 500 or one[0] in (401, 403)], seen["granted"]
        assert seen["hosts"] - {""} <= {f"127.0.0.1:{door.port}", urlsplit(url).netloc}, "nobody else is talked to"
        assert not [text for text in seen["refused"] if f"127.0.0.1:{door.port}" in text], (
            "and nothing of ours is refused"
        )
        assert visits == ["/gate/enter"] * 2, "after the sign-out it is sent to the portal again"

    run(story(), seconds=240)


def test_a_worker_is_drained_and_leaves_no_zombie(locked: PrefectServer, tmp_path: Path) -> None:
    """Its access ends in the middle of a run: that one is reported to its end, the next one is not begun.

    A sub-flow, a task, a log and an artifact come after the end: they are the run's, and it had started.
    """
    direct = Direct(locked)
    trial = direct.deployment("train/trial")

    async def story() -> None:
        papers = papers_for(locked, tmp_path / "secret")
        works = grant(papers, Level.WORK, "pool", direct.pool("adhoc"))
        async with gate(papers, kind=PREFECT) as door:
            known_as(door)
            direct.post(
                f"/deployments/{trial}/create_flow_run", {"parameters": {"epochs": 8}, "state": {"type": "SCHEDULED"}}
            )
            worker = await prefect(
                locked, door, works, "worker", "start", "--pool", "adhoc", "--type", "process", "--name", "w"
            )
            try:
                await until(lambda: direct.states(trial) == ["RUNNING"])
                now = datetime.now(UTC)
                papers.grants[1] = papers.grants[1]._replace(until=now, drain_until=now + timedelta(seconds=60))
                door.changed()
                direct.post(f"/deployments/{trial}/create_flow_run", {"state": {"type": "SCHEDULED"}})
                await until(lambda: "RUNNING" not in direct.states(trial))
                refused = {key: n for key, n in door.usage._counts.items() if key.code != "ok"}
                assert sorted(direct.states(trial)) == ["COMPLETED", "SCHEDULED"], refused
                (within,) = direct.post("/flow_runs/filter", {"flows": {"name": {"any_": ["evaluate"]}}})
                assert within["state_type"] == "COMPLETED"
                assert datetime.fromisoformat(within["start_time"]) > now
                of_it = {"flow_runs": {"id": {"any_": [within["id"]]}}}
                (task,) = direct.post("/task_runs/filter", of_it)
                assert task["state_type"] == "COMPLETED"
                assert [one["key"] for one in direct.post("/artifacts/filter", of_it)] == ["model-score"]
                logs = {"logs": {"flow_run_id": {"any_": [within["id"]]}}}
                await until(lambda: "scored" in str(direct.post("/logs/filter", logs)), seconds=20)  # sent in batches
                await asyncio.sleep(3)
                assert worker.returncode is None, "it lives until its drain is over"
                assert sorted(direct.states(trial)) == ["COMPLETED", "SCHEDULED"], "no new work"
                papers.grants[1] = papers.grants[1]._replace(drain_until=datetime.now(UTC))
                door.changed()
                output = await said(worker)
                assert worker.returncode != 0, output
            finally:
                if worker.returncode is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                    await worker.wait()

    run(story(), seconds=240)
