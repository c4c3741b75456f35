"""Tests run as the app does: the schema belongs to stint_owner, every query is stint_app's.

`db` tests roll back. `commits` tests really commit, and are cleaned up as superuser afterwards. Time is
the database's: the `at` fixture moves it for every connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings

from grants import clock
from grants.provisioning import reconcile
from tests.cast import Cast, make_cast
from tests.databases import EMPTY, SUPERUSER, KeptCast, connect, copied  # noqa: F401 (tests ask for SUPERUSER here)
from tests.real.keycloak import keycloak, realm  # noqa: F401 (fixtures: one server for all modules)

TEST_CLOCK = """
CREATE TABLE stint_clock (at timestamptz);
INSERT INTO stint_clock VALUES (NULL);
GRANT SELECT, UPDATE ON stint_clock TO stint_app;
GRANT SELECT ON stint_clock TO stint_gate;
CREATE OR REPLACE FUNCTION stint_now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS
    $$ BEGIN RETURN coalesce((SELECT at FROM public.stint_clock), clock_timestamp()); END $$;
"""


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker, worker_id: str) -> Iterator[None]:
    """A database of this worker's own, made as superuser, migrated as owner, used as app."""
    name = f"test_{worker_id}"
    with django_db_blocker.unblock():
        connection.close()
        copied(name)
        connection.settings_dict["NAME"] = name
        with connect("stint_owner") as owner:
            owner.execute(TEST_CLOCK)
        with connect("superuser") as superuser:
            superuser.execute(EMPTY)
    yield
    with django_db_blocker.unblock():
        connection.close()


@pytest.fixture(scope="session")
def kept_cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> KeptCast:
    with django_db_blocker.unblock():
        kept = KeptCast()
        connection.close()
    return kept


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def url_of(role: str) -> str:
    """The URL of this worker's database for another process, as one of the roles or "superuser"."""
    with connect(role) as known:
        info = known.info
        return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


@pytest.fixture
def fast(request: pytest.FixtureRequest) -> bool:
    """Whether this is `make test-fast`: a few of many examples are enough."""
    return bool(request.config.option.fast)


@pytest.fixture(autouse=True)
def of_this_worker(settings: Settings, worker_id: str) -> None:
    """Each worker has a key and heads of its own, as it has a database, and knows nothing of providers at first.

    And pages are rendered with plain file names: the manifest is made, and tested, in tests/web/test_design.py.
    """
    folder = settings.ENV.audit_key_file.parent
    files = {"audit_key_file": folder / f"{worker_id}.pem", "audit_heads_file": folder / f"{worker_id}.jsonl"}
    settings.ENV = settings.ENV.model_copy(update=files)
    # Of another test's record: it would not continue them.
    files["audit_heads_file"].unlink(missing_ok=True)
    reconcile._providers._all.clear()  # the cast's provider has the same id in each test
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture
def commits(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Like `transactional_db`, whose TRUNCATE the app role may not do."""
    with django_db_blocker.unblock():
        connection.close()
        yield
        connection.close()
        with connect("superuser") as superuser:
            superuser.execute("SELECT kept.empty()")


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Callable[[datetime | timedelta | None], datetime]:
    """Set the database's clock: to a time, or on by a duration, or (None) running again. Returns the time it is."""
    assert {"db", "commits", "cast"} & set(request.fixturenames), "time is the database's: use db or commits"

    def move(to: datetime | timedelta | None) -> datetime:
        moment = clock.now() + to if isinstance(to, timedelta) else to
        with connection.cursor() as cursor:
            cursor.execute("UPDATE stint_clock SET at = %s", [moment])
        return clock.now()

    return move


@pytest.fixture
def cast(request: pytest.FixtureRequest, kept_cast: KeptCast) -> Cast:
    """The people, teams, resources and policy that the stories are told with (tests/cast.py)."""
    if "commits" not in request.fixturenames:
        request.getfixturevalue("db")
    return kept_cast.again() or make_cast()
