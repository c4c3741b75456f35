"""The gate as a process of its own, for tests and the bench. Free of Django."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.real.prefect import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """`python -m portal.gate`, its log, and where it listens."""

    def __init__(
        self, folder: Path, database_url: str, port: int, *, files: tuple[int, int] | None = None, **settings: str
    ) -> None:
        self._files = files  # that may be open, at first and at most
        self.port, self.admin, self.log = port, free_port(), folder / "gate.log"
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("STINT_")} | {
            "STINT_GATE_DATABASE_URL": database_url,
            "STINT_PUBLIC_URL": "http://127.0.0.1:8000",
            "STINT_GATE_PORT": str(port),
            "STINT_GATE_ADMIN_PORT": str(self.admin),
            "STINT_GATE_SCHEME": "http",
            "STINT_METRICS_TOKEN": "for-metrics",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> None:
        command = [sys.executable, "-m", "portal.gate"]
        if self._files:
            first, most = self._files
            command = ["/bin/sh", "-c", f'ulimit -Sn {first} && ulimit -Hn {most} && exec "$@"', "sh", *command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self._env,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        until(lambda: self.tells("healthz") == 200, self.tail)
        if ready:
            until(lambda: self.tells("readyz") == 200, self.tail)
            until(lambda: self.status("/api/health") != 0, self.tail)

    def tells(self, what: str) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.tail()
        try:
            return httpx.get(f"http://127.0.0.1:{self.admin}/{what}", timeout=5).status_code
        except httpx.TransportError:
            return 0

    def status(self, path: str, token: str = "", **more: object) -> int:
        head = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return httpx.request(
                "GET", f"http://127.0.0.1:{self.port}{path}", headers=head, timeout=10, **more
            ).status_code  # type: ignore[arg-type]
        except httpx.TransportError:
            return 0

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(20)
