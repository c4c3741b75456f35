"""A demo in a folder of its own, on ports of its own, and a browser for its people."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from portal.demo.process import command_of
from tests.real.prefect import Patient, free_port

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("WEB", "GATE", "GATE_ADMIN", "PREFECT", "OIDC", "POSTGRES", "VALKEY")


class Running:
    """One demo, started as its users start it; `more` are variables of its own."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        self.more = more
        self.ports = {name: free_port() for name in NAMES}
        self.web = f"http://127.0.0.1:{self.ports['WEB']}"
        self.gate = f"http://127.0.0.1:{self.ports['GATE']}"
        self.output = ""

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STINT_", "DJANGO_"))}
        ports = {f"STINT_DEMO_{name}_PORT": str(port) for name, port in self.ports.items()}
        return kept | ports | {"STINT_DEMO_DIR": str(self.folder)} | self.more

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "portal.demo"], cwd=ROOT, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout
        self.output = ""
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C stops" in line:
                return
        pytest.fail(f"the demo did not come up:\n{self.output}")

    def stop(self, sig: int = signal.SIGINT) -> None:
        self.process.send_signal(sig)
        assert self.process.stdout
        self.output += self.process.stdout.read()
        self.process.wait(60)
        self.process.stdout.close()

    def kill(self) -> None:
        """As kill -9 does it: nothing is tidied up."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def end(self) -> None:
        """Stop it if it runs, and empty it."""
        if self.process.poll() is None:
            self.stop()
        subprocess.run([sys.executable, "-m", "portal.demo", "reset"], cwd=ROOT, env=self.env, check=True)
        assert not self.folder.exists()

    def pids(self) -> list[int]:
        return [int(file.read_text().partition("\n")[0]) for file in (self.folder / "pids").glob("*")]

    def left(self) -> list[str]:
        """Command lines of processes that work in our folder, or were started for it."""
        marked, found = str(self.folder), []
        for process in Path("/proc").glob("[0-9]*"):
            command = command_of(int(process.name))
            if int(process.name) != os.getpid() and command and (marked in command or marked in _environ(process)):
                found.append(command)
        return found

    def listens_on(self) -> set[str]:
        """The addresses at which its processes take connections, as Linux writes them."""
        parts, sockets = set(self.pids()), set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getpgid(int(process.name)) in parts:
                    sockets |= {str(fd.readlink()) for fd in (process / "fd").iterdir()}
        lines = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = (
            "import sys; from portal.demo.__main__ import Demo; import subprocess; demo = Demo();"
            "demo.secrets = demo.read_secrets();"
            "sys.exit(subprocess.run([sys.executable, 'manage.py', *sys.argv[1:]], env=demo.stint_env()).returncode)"
        )
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def prefect(self) -> httpx.Client:
        """Past the gate, with what only the gate knows: as an operator of Prefect looks at it."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.ports['PREFECT']}/api",
            auth=("stint", self.secret("prefect")),
            timeout=20,
            transport=Patient(),
        )

    def secret(self, name: str) -> str:
        return str(json.loads((self.folder / "secrets.json").read_text())[name])

    def mails(self, to: str, seconds: float = 20) -> list[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [text for file in (self.folder / "mail").glob("*") if f"To: {to}" in (text := file.read_text())]
            if found:
                return found
            time.sleep(0.3)
        return []


def _environ(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace")
    except OSError:
        return ""


def fresh(browser: Browser) -> Page:
    """A page of somebody's own browser, with no cookies yet."""
    page = browser.new_context(timezone_id="Europe/Berlin", locale="en-GB").new_page()
    page.set_default_timeout(20_000)
    return page
