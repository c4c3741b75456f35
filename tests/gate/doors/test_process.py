"""The gate as it runs: a process of its own, on the views and functions of the migrations, as the role stint_gate."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from django.db import connection as database
from django.db import transaction

from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.catalog.models import Connection
from grants.due import ProcessBeat
from grants.gate.doors.metrics import REGISTRY
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.tokens.models import GateUsage
from portal import __version__
from portal.embedded import ROLES, Postgres
from tests.cast import Cast
from tests.conftest import SUPERUSER, url_of
from tests.gate.process import ROOT, Process
from tests.gate.recorder import Recorder, recorder
from tests.gate.views import TABLES, Writer
from tests.plugin import FAST
from tests.real.prefect import free_port
from tests.waiting import until


@pytest.fixture
def upstream() -> Iterator[Recorder]:
    """A recorder in a thread of its own."""
    ready, rec = threading.Event(), []
    loop = asyncio.new_event_loop()

    async def record_until_stopped() -> None:
        async with recorder() as one:
            rec.append(one)
            rec.append(asyncio.Event())
            ready.set()
            await rec[1].wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(record_until_stopped(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield rec[0]
    loop.call_soon_threadsafe(rec[1].set)
    thread.join(10)
    loop.close()


def url_of_role(role: str) -> str:
    info = psycopg.conninfo.conninfo_to_dict(SUPERUSER)
    return f"postgresql://{role}@/{database.settings_dict['NAME']}?host={info['host']}&port={info['port']}"


@contextmanager
def served(
    cast: Cast, upstream: Recorder, folder: Path, *, files: tuple[int, int] | None = None, **settings: str
) -> Iterator[Process]:
    port = free_port()
    with transaction.atomic():
        Connection.objects.filter(pk=cast.connection.pk).update(
            host=f"127.0.0.1:{port}", url=f"http://127.0.0.1:{upstream.port}/api"
        )
        record(Verb.CONNECTION_APPLIED, by="test", on=[cast.connection])
    gate = Process(folder, url_of_role("stint_gate"), port, files=files, **settings)
    gate.start()
    try:
        yield gate
    finally:
        gate.stop(signal.SIGKILL)


def granted(cast: Cast) -> tuple[Grant, issue.Issued]:
    grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    return grant, issue.issue(grant, by=cast.ada)


ANYBODYS = "/api/admin/version"


def test_what_is_counted_is_told_in_words() -> None:
    """Fault: a name of the code stands where a word was meant, as after a careless rename."""
    for metric in REGISTRY.collect():
        assert not re.search(r"[a-z][A-Z]", metric.documentation), metric.documentation


@pytest.mark.usefixtures("commits")
def test_issued_used_and_revoked(
    cast: Cast, upstream: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token of the portal's opens the gate; revoking it closes it, and what was done with it is in the database."""
    with served(cast, upstream, tmp_path) as gate:
        grant, first = granted(cast)
        until(lambda: gate.status(ANYBODYS, first.token) == 200, gate.tail)
        its_life = ProcessBeat.objects.filter(name=f"gate {socket.gethostname()}", version=__version__)
        until(its_life.exists, gate.tail)
        assert gate.status(ANYBODYS) == 401
        assert gate.status("/api/nothing/of/the/kind", first.token) in (403, 404)
        took = []
        for _ in range(15):
            issued = issue.issue(grant, by=cast.ada)
            with httpx.Client(
                base_url=f"http://127.0.0.1:{gate.port}", headers={"Authorization": f"Bearer {issued.token}"}
            ) as client:
                until(lambda client=client: client.get(ANYBODYS).status_code == 200)
                issue.revoke(issued.credential, by=cast.ada)
                took.append(until(lambda client=client: client.get(ANYBODYS).status_code == 401) * 1000)
        with capsys.disabled():
            print(
                f"\n  from the commit of a revocation to the first refusal: p50 {statistics.median(took):.1f} ms, max {max(took):.1f} ms"
            )
        access.revoke(grant, by=cast.chiara)
        until(lambda: gate.status(ANYBODYS, first.token) in (401, 403), gate.tail)
        metrics = httpx.get(
            f"http://127.0.0.1:{gate.admin}/metrics", headers={"Authorization": "Bearer for-metrics"}
        ).text
        assert 'stint_gate_decisions_total{code="ok",connection="prefect-prod"}' in metrics
        assert gate.tells("metrics") == 403
        assert gate.stop() == 0, gate.tail()
        assert not its_life.exists(), "it was told to stop: nobody needs to look for it"
    codes = dict(
        GateUsage.objects.filter(credential=first.credential, route="GET " + ANYBODYS).values_list("code", "n")
    )
    assert codes["ok"] >= 1
    assert first.token not in gate.log.read_text()
    refused = list(AuditEvent.objects.filter(verb="gate.refused"))
    assert refused, "what was refused is in the record"
    assert all(set(json.loads(bytes(event.payload))) <= {"connection", "subject", "credential", "route", "code", "need", "resource", "n"} for event in refused)  # fmt: skip


@pytest.mark.usefixtures("commits")
def test_killed_and_started_again_under_load(cast: Cast, upstream: Recorder, tmp_path: Path) -> None:
    """Whatever it is in the middle of: no call of a token that was revoked meanwhile ever passes."""
    with served(cast, upstream, tmp_path) as gate:
        grant, kept = granted(cast)
        lost = issue.issue(grant, by=cast.ada)
        until(lambda: gate.status(ANYBODYS, lost.token) == 200, gate.tail)
        stop, wrong, right = threading.Event(), [], []
        revoked = threading.Event()

        def load() -> None:
            while not stop.is_set():
                after = revoked.is_set()
                if gate.status(ANYBODYS, lost.token) == 200 and after:
                    wrong.append(time.monotonic())
                if gate.status(ANYBODYS, kept.token) == 200:
                    right.append(time.monotonic())

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.3)
            gate.stop(signal.SIGKILL)
            issue.revoke(lost.credential, by=cast.ada)
            revoked.set()
            time.sleep(0.2)
            gate.start()
            back = time.monotonic()
            until(lambda: bool(right) and right[-1] > back, gate.tail)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert wrong == []


@pytest.mark.usefixtures("commits")
def test_strangers_who_say_nothing_take_no_place(cast: Cast, upstream: Recorder, tmp_path: Path) -> None:
    """More of them than files may be open: who has a token is answered, who asks how the gate is too, and all is kept."""
    with served(cast, upstream, tmp_path, files=(128, 256)) as gate:
        grant, first = granted(cast)
        until(lambda: gate.status(ANYBODYS, first.token) == 200, gate.tail)
        assert '"files": 256' in gate.log.read_text(), "the limit is raised at the start"
        for port in (gate.port, gate.admin):
            idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(300)]
            try:
                for _ in range(5):
                    assert gate.status(ANYBODYS, first.token) == 200, gate.tail()
                assert (gate.tells("healthz"), gate.tells("readyz")) == (200, 200)
                other = issue.issue(grant, by=cast.ada)  # what comes from the database still comes
                until(lambda other=other: gate.status(ANYBODYS, other.token) == 200, gate.tail)
            finally:
                for one in idle:
                    one.close()
        assert gate.stop() == 0, gate.tail()
    assert "Too many open files" not in gate.log.read_text()
    assert GateUsage.objects.filter(credential=first.credential, code="ok").exists()


def test_the_database_stops_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """503 in time, and not before the first reading either; well again by itself."""
    folder = tmp_path / "db"
    folder.mkdir()
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    port, postgres_port = free_port(), free_port()
    postgres = Postgres(folder / "pg", postgres_port)
    gate = Process(tmp_path, f"postgresql://stint_gate:test@127.0.0.1:{postgres_port}/stint", port)
    try:
        gate.start(ready=False)
        assert (gate.tells("healthz"), gate.tells("readyz")) == (200, 503)
        assert gate.status("/api/health") == 0, "nobody is listened to who could not be answered"
        postgres.start(*FAST)
        postgres.roles(dict.fromkeys(ROLES, "test"))
        postgres.database("stint")
        _views(postgres, host=f"127.0.0.1:{port}")
        until(lambda: gate.tells("readyz") == 200, gate.tail)
        until(lambda: gate.status("/api/me") == 404, gate.tail)
        postgres.stop()
        took = until(lambda: gate.status("/api/me") == 503, gate.tail, seconds=5)
        assert gate.tells("readyz") == 503
        postgres = Postgres(folder / "pg", postgres_port)
        postgres.start(*FAST)
        back = until(lambda: gate.status("/api/me") == 404, gate.tail)
        with capsys.disabled():
            print(f"\n  database stopped: 503 after {took:.2f} s; back {back:.2f} s after its start")
        assert gate.stop() == 0
    finally:
        gate.stop(signal.SIGKILL)
        postgres.stop()


def _views(postgres: Postgres, *, host: str) -> None:
    with psycopg.connect(postgres.superuser.replace("/postgres?", "/stint?"), autocommit=True) as superuser:
        superuser.execute(TABLES)
        superuser.execute("GRANT USAGE ON SCHEMA public TO stint_gate")
        Writer(superuser, "").put(
            connections=[{"id": 1, "slug": "toy", "kind": "prefect", "url": "http://127.0.0.1:1/api", "host": host,
                          "environment": "test", "secret_ref": ""}]
        )  # fmt: skip


def test_what_is_missing_stops_the_start(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STINT_")} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run([sys.executable, "-m", "portal.gate"], env=env, capture_output=True, cwd="/", check=False)
    assert done.returncode == 1
    assert b"STINT_GATE_DATABASE_URL: not set" in done.stderr
    assert b"Traceback" not in done.stderr
    parserless = {
        **env,
        "AIOHTTP_NO_EXTENSIONS": "1",
        "STINT_GATE_DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
        "STINT_PUBLIC_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "portal.gate"], env=parserless, capture_output=True, cwd="/", check=False
    )
    assert (done.returncode, b"C parser" in done.stderr) == (2, True)


@pytest.mark.usefixtures("commits")
@pytest.mark.parametrize(
    ("role", "right"),
    [("superuser", "is a superuser"), ("stint_owner", "owns the database")],
)
def test_a_role_that_could_write_into_tables_serves_nobody(role: str, right: str, tmp_path: Path) -> None:
    gate = Process(tmp_path, url_of(role), free_port())
    with pytest.raises(AssertionError):
        gate.start()
    assert gate.process
    assert gate.process.wait(20) == 2
    assert f"STINT_GATE_DATABASE_URL: its role {right}" in gate.tail()
    assert gate.status("/api/health") == 0


def test_the_gate_is_free_of_django() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, portal.gate.__main__; print([name for name in sys.modules if name.split('.')[0] in ('django', 'celery', 'kombu')])"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
