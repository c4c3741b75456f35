"""Run a real Keycloak on this machine: fetched once, built once, started from a prepared database in seconds.

KEYCLOAK_HOME names an unpacked one. Otherwise KEYCLOAK_VERSION is fetched into the user's cache, by Maven or from
MAVEN_REPOSITORY_URL. Needs a `java` (17, 21 or 25) on PATH.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.embedded import EmbeddedError, die_with_parent

VERSION = os.environ.get("KEYCLOAK_VERSION", "26.7.3")
SHA1 = {  # of the archives that Stint is tested with
    "26.7.3": "1e21a7f572581692aacb379dbba8413f99b67208",
    "26.4.7": "8e571bb6e6f19388b7efa31f591900a78fd61997",
}
ADMIN = "admin"  # name and password of the bootstrap admin; the server listens on this machine only
READY_SECONDS = 180
QUICK = {
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1"
}  # a start takes half the CPU; the running server then serves a fifth of the calls per second
_DATABASE = "keycloakdb.mv.db"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "stint"


def home() -> Path:
    """Return the folder of an unpacked and built Keycloak. Raises EmbeddedError, which says what is missing."""
    if not shutil.which("java"):
        raise EmbeddedError("Keycloak needs java (17, 21 or 25) on PATH.")
    if given := os.environ.get("KEYCLOAK_HOME"):
        return Path(given)
    folder = cache() / f"keycloak-{VERSION}"
    with _alone(folder):
        if not (folder / "built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            archive = _fetched()
            with zipfile.ZipFile(archive) as files:
                files.extractall(folder.parent / f"{folder.name}.new")
            (folder.parent / f"{folder.name}.new" / f"keycloak-{VERSION}").rename(folder)
            shutil.rmtree(folder.parent / f"{folder.name}.new")
            (folder / "bin" / "kc.sh").chmod(0o755)  # zipfile drops the x bit
            _say("Building Keycloak, once: 20 s")
            _run([str(folder / "bin" / "kc.sh"), "build", "--db=dev-file", "--health-enabled=true"])
            (folder / "built").touch()
            archive.unlink()
    return folder


def template() -> Path:
    """Return a database with the schema and the bootstrap admin, made once: a start on a copy of it takes seconds."""
    kept = cache() / f"keycloak-{VERSION}-{hashlib.sha256(str(home()).encode()).hexdigest()[:8]}.mv.db"
    with _alone(kept):
        if not kept.exists():
            folder = kept.with_suffix(".making")
            shutil.rmtree(folder, ignore_errors=True)
            server = Keycloak(folder, empty=True)
            _say("Making Keycloak's first database, once: 20 s")
            try:
                server.start()
            finally:
                server.stop()
            shutil.copyfile(folder / _DATABASE, kept.with_suffix(".part"))
            kept.with_suffix(".part").rename(kept)
            shutil.rmtree(folder)
    return kept


class Keycloak:
    """One server with its data in `folder`, which is kept when the server ends."""

    def __init__(self, folder: Path, port: int | None = None, *, empty: bool = False) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.management = free_port()
        self.empty = empty
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"  # always localhost: with 127.0.0.1 the issuer would be another one

    def command(self) -> list[str]:
        database = f"jdbc:h2:file:{self.folder / 'keycloakdb'};NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE"
        return [
            str(home() / "bin" / "kc.sh"), "start", "--optimized", "--cache=local",  # a cluster opens ports
            "--http-enabled=true", "--http-host=127.0.0.1", f"--http-port={self.port}",
            f"--http-management-port={self.management}", f"--hostname={self.url}", f"--db-url={database}",
        ]  # fmt: skip

    def prepare(self) -> None:
        """Make the data of the server, unless an earlier start has made it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds keys and secrets
        if not self.empty and not (self.folder / _DATABASE).exists():
            shutil.copyfile(template(), self.folder / _DATABASE)

    def start(self) -> None:
        """Start and wait until it is ready. Raises EmbeddedError with the end of its log."""
        self.prepare()
        with (self.folder / "keycloak.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=environment() | (QUICK if self.empty else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (no other thread starts anything meanwhile)
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "keycloak.log").read_text(encoding="utf-8", errors="replace")
                self.kill()
                raise EmbeddedError(f"Keycloak did not start:\n{said[-2000:]}")
            time.sleep(0.2)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, sig: int) -> None:
        """Signal the whole group, because kc.sh starts java as a child."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, sig)
            self.process.wait(timeout=20)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def environment() -> dict[str, str]:
    """Our environment without KC_* (each would be read as an option) and DEBUG (which opens a debugger's port)."""
    strange = ("KC_", "KEYCLOAK_", "STINT_", "DEBUG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return kept | {
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN,
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _alone(what: Path) -> Iterator[None]:
    """Let one process in at a time: parallel test runs would fetch and build twice."""
    what.parent.mkdir(parents=True, exist_ok=True)
    with what.with_name(f"{what.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetched() -> Path:
    """Fetch the archive and compare its checksum. Raises EmbeddedError."""
    name = f"keycloak-quarkus-dist-{VERSION}.zip"
    archive = cache() / name
    _say(f"Getting Keycloak {VERSION}, once: 180 MB")
    base = os.environ.get("MAVEN_REPOSITORY_URL", "").rstrip("/")
    if base:
        url = f"{base}/org/keycloak/keycloak-quarkus-dist/{VERSION}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, archive.with_suffix(".part").open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise EmbeddedError(f"Keycloak could not be fetched from MAVEN_REPOSITORY_URL: {error}") from None
        archive.with_suffix(".part").rename(archive)
    elif shutil.which("mvn"):
        artifact = f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
        _run(["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={cache()}"])
    else:
        raise EmbeddedError("Keycloak is fetched by mvn, or from MAVEN_REPOSITORY_URL: neither is here.")
    digest = hashlib.sha1(archive.read_bytes()).hexdigest()
    if VERSION in SHA1 and digest != SHA1[VERSION]:
        archive.unlink()
        raise EmbeddedError(f"Keycloak's archive has sha1 {digest}, not the one that is pinned.")
    return archive


def _say(what: str) -> None:
    print(f"           {what} …", file=sys.stderr, flush=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmbeddedError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
