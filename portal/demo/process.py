"""Start parts, wait until they are ready, stop them, and end processes that a killed start has left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded import EmbeddedError, die_with_parent, stop

type Ready = Callable[[], bool]


@dataclass
class Parts:
    """The processes of one demo, stopped in the opposite order to that in which they were started."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a part in a session of its own, so that Ctrl-C reaches only us; its output goes to a file."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (started from the main thread alone)
            )
        self.keep(name, process)

    def keep(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.running[name] = process
        (self.folder / "pids").mkdir(exist_ok=True)
        (self.folder / "pids" / name).write_text(f"{process.pid}\n{command_of(process.pid)}", encoding="utf-8")

    def wait(self, name: str, ready: Ready, seconds: float = 60) -> None:
        """Wait until `ready` says that the part is ready. Raises EmbeddedError."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check(name)
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{name} was not ready in {seconds:.0f} s: see {self.log(name)}")
            time.sleep(0.1)

    def check(self, *names: str) -> None:
        """Raise EmbeddedError when one of these parts (or any, if none is named) has ended."""
        for name in names or tuple(self.running):
            if (code := self.running[name].poll()) is not None:
                raise EmbeddedError(f"{name} ended with {code}: see {self.log(name)}\n{self.tail(name)}")

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def tail(self, name: str) -> str:
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-8:])

    def stop(self) -> None:
        """Stop all parts, the last started first, so that a part ends before those that it needs."""
        for name, process in reversed(self.running.items()):
            stop(process, signal.SIGINT if name == "postgres" else signal.SIGTERM)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # children that are still running
            (self.folder / "pids" / name).unlink(missing_ok=True)
        self.running.clear()

    def clear_leftovers(self) -> list[str]:
        """End processes that a killed start left running, but not a process that has got one of their pids since."""
        cleared = []
        for file in sorted((self.folder / "pids").glob("*")):
            pid, _, command = file.read_text(encoding="utf-8").partition("\n")
            left = command and command_of(int(pid)) == command
            if left or orphaned(int(pid), self.folder):
                cleared.append(file.name)
                _end(int(pid), signal.SIGINT if file.name == "postgres" else signal.SIGTERM)
            file.unlink()
        return cleared


def _end(pid: int, sig: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, sig)
        within(10, lambda: not command_of(pid))
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
        within(10, lambda: not members(pid))


def within(seconds: float, is_so: Ready) -> bool:
    """Wait until the condition holds, at most this long."""
    deadline = time.monotonic() + seconds
    while not (came := is_so()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return came


def orphaned(group: int, folder: Path) -> bool:
    """Has this group lost its leader while its other processes use our folder? kc.sh leaves its java like this."""
    return not command_of(group) and any(str(folder) in command for command in members(group))


def members(group: int) -> list[str]:
    """The command lines of the processes in a group, without zombies."""
    found = []
    for pid in _everybody():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and (command := command_of(pid)):
                found.append(command)
    return found


def _everybody() -> list[int]:
    if Path("/proc/self").exists():
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    told = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(pid) for pid in told.stdout.split()]


def command_of(pid: int) -> str:
    """The command line of a process; "" when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").replace("\0", " ").strip()
    except OSError:
        if Path("/proc/self").exists():
            return ""
    told = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def answers(url: str) -> Ready:
    """Ready when this address answers with 200."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ready


def listens(port: int) -> Ready:
    """Ready when this port accepts connections; for parts that do not speak HTTP."""

    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def taken(port: int) -> bool:
    """Does another process use the port? Tested by binding it, because a silent process can hold it as well."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def base_env() -> dict[str, str]:
    """Our environment without variables that must not reach a part: of another Prefect, another Stint, a proxy."""
    strange = ("PREFECT_", "STINT_", "DJANGO_", "CELERY_", "GRANIAN_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return kept | {
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
