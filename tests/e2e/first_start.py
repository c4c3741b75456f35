"""docs/operations.md, "First start", followed on this machine: beside its own system, and without systemd.

What the page says is run as it is; DIFFERENCES and `Machine.systemctl` are all that is otherwise.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from portal.demo.process import Parts
from tests.real.prefect import free_port, missing

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/operations.md"
_BLOCK = re.compile(r"^```(\w+) first-start ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHIPPED = ("manage.py", "pyproject.toml", "uv.lock", "portal", "accounts", "grants", "templates", "deploy")

# Where people reach each of them: three hosts at one port, as behind one nginx.
HOSTS = {"stint.example.org": "127.0.0.2", "prefect.example.org": "127.0.0.3", "sso.example.org": "127.0.0.4"}
PORTS = ("443", "5432", "6379", "8001", "8002", "4201", "4202", "4291", "4292")  # of the system, and what we take here
DIFFERENCES: tuple[tuple[str, str], ...] = (
    # Paths: all of it is in one folder.
    (r"(?<![\w.])/(opt/stint|etc/stint|etc/nginx|etc/systemd/system|var/lib/stint)\b", r"{folder}/\1"),
    # Users: one, who runs the test.
    (r"^useradd .*$", ":"),
    (r"^(\s*)chown ", r"\1: chown "),
    (r"-o root ", ""),
    (r"runuser -u stint -- ", ""),
    (r"runuser -u postgres -- psql", "{psql}"),
    # Programs: the code as it is here; an nginx of our own.
    (r"git clone \S+ ", "cp -r {folder}/source "),
    (r"^nginx -t$", "nginx -t -q -c {folder}/etc/nginx/nginx.conf"),
    # Names and ports.
    (r"listen 443 ssl;(\s+)server_name (\w+\.example\.org);", r"listen <\2>:443 ssl;\1server_name <\2>;"),
    (r"(?<!<)\b(\w+\.example\.org)(?!>)", r"<\1>:443"),
    (r"http://10\.0\.0\.5:4200", "{prefect}"),
    (r"http://127\.0\.0\.1:8080", "{keycloak}"),
    (r"realms/acme", "realms/{realm}"),
)


class Block(NamedTuple):
    language: str
    file: str
    text: str


def blocks() -> list[Block]:
    """Those of the page that belong to the first start, in its order."""
    return [Block(*found) for found in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))]


class Machine:
    """Stands for the one of the page. Raises AssertionError where something that it says does not work."""

    def __init__(self, folder: Path, parts: Parts, **known: str) -> None:
        self.folder, self.parts = folder, parts
        self.ports = {port: str(free_port()) for port in PORTS}
        self.known = {"folder": str(folder), **known}

    def url(self, name: str) -> str:
        return f"https://{HOSTS[name]}:{self.ports['443']}"

    def here(self, text: str) -> str:
        """What the page or a shipped file says, as it has to be on this machine."""
        for pattern, instead in DIFFERENCES:
            filled = re.sub(r"\{(\w+)\}", lambda found: self.known[found[1]].replace("\\", r"\\"), instead)
            text = re.sub(pattern, filled, text, flags=re.MULTILINE)
        for name, address in HOSTS.items():
            text = text.replace(f"<{name}>", address)
        return re.sub(rf"(?<=[:=])({'|'.join(PORTS)})\b", lambda found: self.ports[found[1]], text)

    def unpack(self) -> None:
        """The code where the page gets it from, its deploy files with what is different here."""
        no = shutil.ignore_patterns("__pycache__", ".mypy_cache")
        for name in _SHIPPED:
            there = self.folder / "source" / name
            there.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, there, ignore=no)
            else:
                shutil.copy(ROOT / name, there)
        for file in (self.folder / "source/deploy").rglob("*"):
            if file.is_file():
                file.write_text(self.here(file.read_text()))

    def distribution(self) -> None:
        """What the system's own packages bring: folders, and an nginx that includes conf.d."""
        for name in ("opt", "etc/nginx/conf.d", "etc/systemd/system", "var/lib", "nginx"):
            (self.folder / name).mkdir(parents=True)
        paths = "".join(
            f"{kind}_temp_path {self.folder}/nginx/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.folder / "etc/nginx/nginx.conf").write_text(
            f"{user}daemon off;\npid {self.folder}/nginx/pid;\nerror_log {self.folder}/nginx/error.log;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}include {self.folder}/etc/nginx/conf.d/*.conf;\n}}\n"
        )

    def follow(self, block: Block) -> None:
        """Do what this block says."""
        text = self.here(block.text)
        if block.file:
            Path(self.here(block.file)).write_text(text)
        elif "systemctl " in text:
            for line in text.splitlines():
                self.systemctl(*shlex.split(line)[1:])
        else:
            self.shell(text)

    def shell(self, text: str) -> None:
        path = f"{uv().parent}:{Path(self.known['nginx']).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ours = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "XDG_", "SSL_"))}
        env = ours | {"PATH": path, "HOME": os.environ.get("HOME", "/"), "UV_PYTHON": sys._base_executable}  # type: ignore[attr-defined]
        done = subprocess.run(["bash", "-euc", text], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

    def answers(self, port: str) -> bool:
        """Is the process ready that has this port on the page?"""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[port]}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    # Instead of systemd.

    def systemctl(self, verb: str, *names: str) -> None:
        if verb == "daemon-reload":
            self._verify()
        elif (verb, names) == ("reload", ("nginx",)):
            self.parts.start("nginx", [self.known["nginx"], "-c", str(self.folder / "etc/nginx/nginx.conf")], {})
            self.parts.wait("nginx", lambda: listens(HOSTS["stint.example.org"], int(self.ports["443"])))
        else:
            assert verb == "start" or names[0] == "--now", (verb, names)
            for name in names[verb == "enable" :]:
                self._start(name)

    def _verify(self) -> None:
        """systemd's own opinion, where it is installed."""
        if tool := shutil.which("systemd-analyze"):
            units = sorted(map(str, (self.folder / "etc/systemd/system").glob("*.service")))
            done = subprocess.run([tool, "verify", *units], capture_output=True, text=True, check=False)
            said = [line for line in done.stderr.splitlines() if str(self.folder) in line or "stint-" in line]
            assert not said, done.stderr

    def _start(self, name: str) -> None:
        kind, _, instance = name.partition("@")
        file = self.folder / f"etc/systemd/system/{kind}{'@' * bool(instance)}.service"
        credentials = self.folder / "credentials" / name
        names = {"%i": instance, "%d": str(credentials), "%H": socket.gethostname()}
        unit = list(_settings(file, names))
        for key, value in unit:
            if key == "LoadCredential":
                credentials.mkdir(parents=True)
                what, _, source = value.partition(":")
                shutil.copy(source, credentials / what)
            elif key == "StateDirectory":
                (self.folder / "var/lib" / value).mkdir(mode=0o750, exist_ok=True)
        one = dict(unit)
        env = {"PATH": "/usr/bin:/bin", **_environment(unit)}
        for command in (shlex.split(self.here_ports(value)) for key, value in unit if key == "ExecStart"):
            there = ["env", "-C", one["WorkingDirectory"], *command]
            if one.get("Type") == "oneshot":
                done = subprocess.run(there, env=env, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{name}: {command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
            else:
                self.parts.start(name, there, {key: self.here_ports(value) for key, value in env.items()})

    def here_ports(self, text: str) -> str:
        """A port that a unit makes of its instance."""
        return self.ports.get(text, text)


def _settings(file: Path, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        key, given, value = line.partition("=")
        if given and not key.startswith("#"):
            for short, long in names.items():
                value = value.replace(short, long)
            yield key, value


def _environment(unit: list[tuple[str, str]]) -> dict[str, str]:
    """As systemd makes it: what a file says counts more than the unit."""
    env = dict(pair.split("=", 1) for key, value in unit if key == "Environment" for pair in shlex.split(value))
    for key, value in unit:
        if key == "EnvironmentFile":
            lines = [line for line in Path(value).read_text().splitlines() if line and not line.startswith("#")]
            env |= dict(shlex.split(line)[0].split("=", 1) for line in lines)
    return env


def listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def uv() -> Path:
    found = shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT}/.cache/uv/bin")
    return Path(found) if found else missing("uv")


def nginx() -> str:
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or missing("nginx (Debian: nginx-light)")
