"""One PostgreSQL for all workers of a test run, started before Django reads its settings; and `--fast`.

Named in pytest's addopts: conftest.py would be too late, pytest-django has loaded the settings by then.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api._context_manager import PlaywrightContextManager

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

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}  # as Python tells audit hooks
_started = pytest.StashKey[str]()  # the program that a test wanted to start


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="leave out each test that starts a program, and try fewer examples"
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("stint", deadline=None)  # two cores are shared: time proves nothing
    hypothesis.settings.register_profile("fast", deadline=None, max_examples=10)
    hypothesis.settings.load_profile("fast" if config.option.fast else "stint")
    if config.option.fast:
        config.option.markexpr = config.option.markexpr or "not real and not e2e"
        config.pluginmanager.register(WithoutPrograms())


class WithoutPrograms:
    """Skips a test as soon as it, or what it stands on, starts a program: no list says which those are."""

    def __init__(self) -> None:
        self._item: pytest.Item | None = None
        sys.addaudithook(self._look)  # for ever: there is no way to take one back
        # It starts its driver from a loop of its own, which would go on after the skip, in all tests that follow.
        PlaywrightContextManager.__enter__ = lambda _manager: self._leave_out("a browser")

    def _look(self, event: str, args: tuple[object, ...]) -> None:
        if event in STARTS:
            self._leave_out(str(args[0]) if args else event)

    def _leave_out(self, program: str) -> None:
        if self._item is not None:
            self._item.stash[_started] = program
            pytest.skip(_reason(self._item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        yield from self._watched(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        yield from self._watched(item)

    def _watched(self, item: pytest.Item) -> Generator[None]:
        self._item = item
        try:
            yield
        except Exception as error:
            if _started not in item.stash and not _comes_of_a_skip(error):
                raise
            pytest.skip(f"{type(error).__name__} after a skip: not in a fast run")
        finally:
            self._item = None
        if _started in item.stash:  # and the skip was caught, or raised in another thread
            pytest.skip(_reason(item))


def _comes_of_a_skip(error: BaseException | None) -> bool:
    """Whether it was raised while a skip passed, as by a fixture that ends what never started; the next test gets it, too."""
    while error and not isinstance(error, pytest.skip.Exception):
        error = error.__context__
    return error is not None


def _reason(item: pytest.Item) -> str:
    return f"starts {item.stash[_started]}: not in a fast run"


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
