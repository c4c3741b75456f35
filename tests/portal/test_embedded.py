"""PostgreSQL from the wheel: its roles, its end, and its return after a hard kill."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portal.demo.process import taken
from portal.embedded import ROLES, EmbeddedError, Postgres, reachable


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="stint-embedded-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "pg", port)
        yield server
        server.stop()


def test_it_starts_stops_and_heals(postgres: Postgres) -> None:
    postgres.start()
    postgres.roles(dict.fromkeys(ROLES, "secret"))
    postgres.database("stint")
    postgres.database("stint")  # there already
    with psycopg.connect(postgres.url("stint_owner", "secret", "stint"), autocommit=True) as owner:
        owner.execute("CREATE TABLE kept (a int)")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url("stint_app", "wrong", "stint"))
    assert postgres.process
    postgres.process.kill()
    postgres.process.wait()
    postgres.start()
    with psycopg.connect(postgres.url("stint_owner", "secret", "stint")) as owner:
        owner.execute("SELECT * FROM kept")
    postgres.stop()
    assert postgres.process.poll() == 0


def test_a_port_of_somebody_else(postgres: Postgres) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", postgres.port))
        other.listen()
        assert taken(postgres.port)
        with pytest.raises(EmbeddedError, match="did not start"):
            postgres.start()
    assert not taken(postgres.port)


def test_a_long_path_has_its_socket_elsewhere(postgres: Postgres) -> None:
    postgres.data = postgres.data.parent / ("x" * 120)
    postgres.start()
    with psycopg.connect(postgres.superuser) as superuser:
        superuser.execute("SELECT 1")
    assert len(str(postgres.socket)) < 80
    postgres.stop()
    assert not postgres.socket.exists()


def test_where_nobody_gets_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert reachable(closed) == closed
