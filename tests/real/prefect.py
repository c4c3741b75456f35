"""A real Prefect server for tests, seeded through Prefect's own client.

Ask for the fixture `prefect_server` (import it in your conftest or test module). It is one server for the
whole session: use names of your own, and count on nobody else's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import httpx
import pytest

PYTHON = os.environ.get("PYTHON_OF_PREFECT") or sys.executable  # tests/versions has others
SEED = Path(__file__).with_name("seed_prefect.py")
_READY_SECONDS = 120


class PrefectServer(NamedTuple):
    url: str  # of the API
    env: dict[str, str]  # for processes that talk to it
    process: subprocess.Popen[bytes]

    def do(self, *steps: dict[str, Any]) -> list[Any]:
        """Run steps of tests/real/seed_prefect.py with Prefect's client; the results, ids mostly."""
        done = subprocess.run(
            [PYTHON, "-P", str(SEED)],  # -P: else tests/real/prefect.py would be its `prefect`
            input=json.dumps(steps).encode(),
            env=self.env,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        results: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return results


class Patient(httpx.HTTPTransport):
    """Asks again when Prefect's SQLite is busy, which it answers with 503: every client of its own does so."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(20):
            answer = super().handle_request(request)
            if answer.status_code != 503:
                break
            answer.read()
            time.sleep(0.1)
        return answer


def missing(part: str) -> NoReturn:
    """A part that is not here: a reason to skip, but on CI a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{part} is not installed, and CI has to have it")
    pytest.skip(f"{part} is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_prefect(home: Path, *options: str, **settings: str) -> Iterator[PrefectServer]:
    """A server of its own under `home`, started with `options`; `settings` are more PREFECT_ variables."""
    if sys.executable == PYTHON and importlib.util.find_spec("prefect") is None:
        missing("prefect")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "STINT_"))},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        **settings,
    }
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), *options],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(url, process, log)
        yield PrefectServer(url, env, process)
    finally:
        _stop(process)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with running_prefect(tmp_path_factory.mktemp("prefect")) as server:
        yield server
