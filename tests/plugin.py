"""One PostgreSQL for all workers of a test run, started before Django reads its settings.

Named in pytest's addopts: conftest.py would be too late, pytest-django has loaded the settings by then.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from portal.embedded import ROLES, Postgres

SETTINGS = {
    "STINT_SECRET_KEY": "only-for-tests-" * 4,
    "STINT_PUBLIC_URL": "http://127.0.0.1:8000",
    "STINT_BROKER_URL": "redis://127.0.0.1:1/0",  # nobody listens: the tests need no broker
    "STINT_OIDC_ISSUER": "http://127.0.0.1:1",
    "STINT_OIDC_CLIENT_SECRET": "only-for-tests",
    "STINT_LOG_LEVEL": "WARNING",
    "STINT_LOG_FORMAT": "console",
}
# Nothing is kept, so nothing needs to reach the disk.
FAST = (
    "-c",
    "fsync=off",
    "-c",
    "synchronous_commit=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "max_connections=200",
)

_running: list[tuple[Postgres, Path]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # inherited
    for name in [name for name in os.environ if name.startswith("STINT_")]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="stint-test-"))
    folder.chmod(0o755)  # PostgreSQL runs as nobody when this is root
    (folder / "static").mkdir()  # WhiteNoise wants it to be there
    postgres = Postgres(folder / "pg", _free_port())
    _running.append((postgres, folder))
    postgres.start(*FAST)
    postgres.roles(dict.fromkeys(ROLES, "test"))
    os.environ |= SETTINGS | {
        "STINT_DATABASE_URL": f"postgresql://stint_app@/postgres?host={postgres.socket}&port={postgres.port}",
        "STINT_TEST_SUPERUSER_URL": postgres.superuser,
        "STINT_AUDIT_KEY_FILE": str(folder / "audit.pem"),
        "STINT_AUDIT_HEADS_FILE": str(folder / "heads.jsonl"),
        "STINT_STATIC_ROOT": str(folder / "static"),
    }


def pytest_unconfigure() -> None:
    while _running:
        postgres, folder = _running.pop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
