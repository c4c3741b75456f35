"""Many people at a fake Keycloak at once, each with a grant, and a worker's turn over all of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from django.db import connection

from grants import clock
from grants.lifecycle.models import RoleBinding
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.conftest import connect
from tests.waiting import until

ROLE = "prefect-prod:pool:etl:run"


def join(cast: Cast, server: FakeKeycloak, count: int, *, name: str = "p") -> list[str]:
    """So many people of the server, known here; returns their external ids."""
    external = [server.user(f"{name}{n}") for n in range(count)]
    with _unwatched() as superuser:
        superuser.execute(
            "WITH made AS (INSERT INTO accounts_subject (kind, name, active, version)"
            " SELECT 'person', x, true, 0 FROM unnest(%(external)s::text[]) x RETURNING id, name)"
            " INSERT INTO accounts_identity (subject_id, idp_id, external_id) SELECT id, %(idp)s, name FROM made",
            {"external": external, "idp": cast.idp.pk},
        )
    return external


def hold(cast: Cast, external: list[str], *, role: str = ROLE, lasts: timedelta = timedelta(hours=1)) -> None:
    """A grant each of this role, from now, and its binding due."""
    now = clock.now()
    with _unwatched() as superuser:
        superuser.execute(
            "INSERT INTO grants_grant (request_id, asked, beneficiary_id, resource_id, level, idp_id, role, starts_at,"
            " ends_at, drain_until, version) SELECT i.id + 1000000 * hashtext(%(role)s)::bigint, %(lasts)s, i.subject_id, %(pool)s, 'run', i.idp_id, %(role)s,"
            " %(now)s, %(now)s + %(lasts)s, %(now)s + %(lasts)s, 0 FROM accounts_identity i"
            " WHERE i.external_id = ANY (%(external)s)",
            {"lasts": lasts, "pool": cast.pool.pk, "role": role, "now": now, "external": external},
        )
    RoleBinding.objects.bulk_create(
        [RoleBinding(idp=cast.idp, external_id=pk, role=role, due_at=now) for pk in external], ignore_conflicts=True
    )


@contextmanager
def _unwatched() -> Iterator[psycopg.Connection]:
    """As superuser, without triggers: how these come to be is not what is looked at."""
    with connect("superuser", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        yield superuser


@contextmanager
def at_work(turn: Callable[[Callable[[], bool]], object]) -> Iterator[None]:
    """A worker that goes on with its turns; `turn` is given what says whether to take up more."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            turn(lambda: not stop.is_set())
            stop.wait(0.05)
        connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def phases() -> dict[str, int]:
    return dict(Counter(RoleBinding.objects.values_list("phase", flat=True)))


def wait(what: Callable[[], bool], said: str) -> None:
    """Says how far it came when it does not come about."""
    until(what, lambda: f"{said}; {phases()}", seconds=120, pause=0.05)
