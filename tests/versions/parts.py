"""Other versions of the parts than the lock has, fetched once into a cache: each gives the environment to test with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from portal.embedded import reachable

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "versions"

# What an old server starts with: newer releases of these broke it (measured).
_WITH_PREFECT = {
    (3, 6): ("fastapi<0.130", "starlette<1", "importlib_metadata"),
    (3, 7): ("fastapi>=0.139,<0.151", "starlette>=1.0.1"),
    (3, 8): ("fastapi>=0.139,<0.151", "starlette>=1.0.1"),
}
_OVERRIDE = "certifi>=2026.4.22"  # as in pyproject.toml


class Absent(Exception):
    """A version that cannot be had here; the message says why."""


def prefect(version: str) -> dict[str, str]:
    """A CPython of its own that has this Prefect, server and client."""
    major, minor = (int(number) for number in version.split(".")[:2])
    python = _venv(f"prefect-{version}")
    if not _has(python, "prefect"):
        override = CACHE / "override.txt"
        override.write_text(_OVERRIDE)
        _uv("pip", "install", "--python", str(python), "--override", str(override),
            f"prefect=={version}", *_WITH_PREFECT.get((major, minor), ()))  # fmt: skip
    return {"PYTHON_OF_PREFECT": str(python)}


def postgres(version: str) -> dict[str, str]:
    """PostgreSQL from Maven, in a folder that the user it runs as can reach."""
    CACHE.mkdir(parents=True, exist_ok=True)
    home = reachable(CACHE) / f"postgres-{version}"
    if not (home / "bin" / "postgres").exists():
        machine = {"x86_64": "amd64", "aarch64": "arm64v8"}.get(platform.machine())
        if machine is None or not shutil.which("mvn"):
            raise Absent("PostgreSQL of another version is fetched by mvn, for x86_64 and aarch64.")
        name = f"embedded-postgres-binaries-linux-{machine}"
        _run("mvn", "-q", "-B", "dependency:copy",
             f"-Dartifact=io.zonky.test.postgres:{name}:{version}:jar", f"-DoutputDirectory={CACHE}")  # fmt: skip
        with zipfile.ZipFile(CACHE / f"{name}-{version}.jar") as jar:
            inner = next(entry for entry in jar.namelist() if entry.endswith(".txz"))
            with jar.open(inner) as packed, tarfile.open(fileobj=packed, mode="r:xz") as files:
                files.extractall(home, filter="tar")
        home.chmod(0o755)
    return {"POSTGRES_HOME": str(home)}


def redis(major: str) -> dict[str, str]:
    """A redis-server of this machine, which must be of that major version."""
    binary = os.environ.get(f"REDIS_{major}_SERVER") or shutil.which("redis-server")
    if binary is None:
        raise Absent(f"redis-server {major} is not installed: name it in REDIS_{major}_SERVER.")
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    if f"v={major}." not in said:
        raise Absent(f"{binary} is not version {major}: {said.strip()}")
    return {"VALKEY_SERVER": binary}


def keycloak(version: str) -> dict[str, str]:
    return {"KEYCLOAK_VERSION": version}


def python(version: str) -> dict[str, str]:
    """Another CPython, with the lowest versions that pyproject.toml allows; the tests' own tools are new."""
    interpreter = _venv(f"python-{version}", _interpreter(version))
    runs_on = ("--resolution", "lowest-direct", "-r", "pyproject.toml")
    tools = ("--group", "dev", "--group", "embedded", "django-oauth-toolkit>=3", "uvicorn")
    for wanted in (runs_on, tools):
        _uv("pip", "install", "--quiet", "--python", str(interpreter), *wanted)
    return {"PYTHON": str(interpreter)}


def _venv(name: str, interpreter: str = sys.executable) -> Path:
    venv = CACHE / name
    if not (venv / "bin" / "python").exists():
        _uv("venv", "--quiet", "--python", interpreter, str(venv))
    return venv / "bin" / "python"


def _has(interpreter: Path, module: str) -> bool:
    found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([interpreter, "-P", "-c", found], check=False).returncode == 0


def _interpreter(version: str) -> str:
    named = sorted((Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions").glob(f"{version}.*"))
    for candidate in (*(str(folder / "bin" / "python") for folder in named), shutil.which(f"python{version}")):
        if candidate and subprocess.run([candidate, "-c", "import ssl, sqlite3"], check=False).returncode == 0:
            return candidate
    raise Absent(f"No CPython {version} is here.")


def _uv(*words: str, **settings: str) -> None:
    _run("uv", *words, **settings)


def _run(*command: str, **settings: str) -> None:
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent(f"{' '.join(command[:3])} failed:\n{(done.stdout + done.stderr)[-2000:]}")
