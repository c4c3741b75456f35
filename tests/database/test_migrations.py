"""What the migrations make: said in files that cannot lie, and undone by them as far as they say."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, migrations
from django.db.migrations.exceptions import IrreversibleError
from pytest_django import DjangoDbBlocker

from grants import schema
from tests.databases import SUPERUSER, copied

ROOT = Path(__file__).resolve().parents[2]
SQL = ROOT / "grants/sql"
STEPS = sorted((ROOT / "grants/migrations").glob("0*.py"))
# The oldest that can be undone is the one after it; what stands before has reverses that do nothing, and is never asked.
FLOOR = "0017_restored"


@pytest.fixture(scope="module")
def plain(django_db_setup: None, django_db_blocker: DjangoDbBlocker, worker_id: str) -> Iterator[psycopg.Connection]:
    """A database with nothing but what the migrations made, and its owner; Django calls it "plain"."""
    name = f"test_{worker_id}_plain"
    with django_db_blocker.unblock():
        copied(name)
        connections.databases["plain"] = connection.settings_dict | {"USER": "stint_owner", "NAME": name}
        info = psycopg.conninfo.conninfo_to_dict(SUPERUSER) | {"dbname": name, "user": "stint_owner"}
        with psycopg.connect(**info, autocommit=True) as owner:  # type: ignore[arg-type]
            yield owner
        connections["plain"].close()
        del connections["plain"], connections.databases["plain"]


def migrate(*to: str) -> None:
    try:
        call_command("migrate", *to, verbosity=0, database="plain")
    finally:
        connections["plain"].close()


def test_the_schema_in_the_docs_is_the_one_that_migrations_make(plain: psycopg.Connection) -> None:
    """`manage.py schema` writes it."""
    assert schema.dump(plain.cursor()) == (ROOT / "docs/schema.sql").read_text()


def test_functions_and_views_have_a_file_each(plain: psycopg.Connection) -> None:
    assert {one.name for one in schema.made(plain.cursor())} == {path.stem for path in SQL.glob("*.sql")}


@pytest.mark.parametrize("path", sorted(SQL.glob("*.sql")), ids=lambda path: path.stem)
def test_a_file_says_what_is_there(plain: psycopg.Connection, path: Path) -> None:
    """Executed, it changes nothing: neither what PostgreSQL calls its definition nor who may use it."""
    cursor = plain.cursor()
    (before,) = [one for one in schema.made(cursor) if one.name == path.stem]
    said = schema.definition(cursor, before)
    with plain.transaction(force_rollback=True):
        cursor.execute(path.read_text())
        (after,) = [one for one in schema.made(cursor) if one.name == path.stem]
        assert schema.definition(cursor, after) == said
    assert after == before


def test_back_and_forth_ends_where_it_began(plain: psycopg.Connection) -> None:
    before = _whole(plain)
    migrate("grants", FLOOR)
    assert _whole(plain) != before
    migrate("accounts", "0002_service_names")
    migrate()
    assert _whole(plain) == before


def test_a_delivery_of_before_goes_on(plain: psycopg.Connection) -> None:
    """Fault: a release that takes every delivery for one that was ended."""
    migrate("grants", "0024_no_want_until")
    info = psycopg.conninfo.conninfo_to_dict(SUPERUSER) | {"dbname": plain.info.dbname}
    with psycopg.connect(**info) as superuser:  # type: ignore[arg-type]
        superuser.execute("SET session_replication_role = replica")
        (pk,) = superuser.execute(
            "INSERT INTO accounts_subject (kind, name, active, version) VALUES ('person', 'w', true, 0) RETURNING id"
        ).fetchone() or (None,)
        superuser.execute(
            "INSERT INTO grants_duejob (name, due_at) SELECT x, stint_now() FROM unnest(%s::text[]) x",
            [[f"token:{pk}", "token:0", "sync:token"]],
        )
    migrate()
    with psycopg.connect(**info) as superuser:  # type: ignore[arg-type]
        superuser.execute("SET session_replication_role = replica")
        made = superuser.execute(
            "DELETE FROM grants_delivery RETURNING subject_id, kind, delivered_at, error"
        ).fetchall()
        superuser.execute("DELETE FROM grants_duejob WHERE name ~ 'token'")
        superuser.execute("DELETE FROM accounts_subject WHERE id = %s", [pk])
    assert made == [(pk, "files", None, "")]


def test_further_back_than_can_be_is_refused(plain: psycopg.Connection) -> None:
    before = _whole(plain)
    with pytest.raises(IrreversibleError):
        migrate("grants", "0016_binding_urgency")
    migrate()
    assert _whole(plain) == before


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_no_reverse_does_nothing(path: Path) -> None:
    """Django would say that all went well, and the way forward would break on what is still there."""
    module = importlib.import_module(f"grants.migrations.{path.stem}")
    noops = [one for one in module.Migration.operations if getattr(one, "reverse_sql", None) == migrations.RunSQL.noop]
    assert not noops or path.stem < FLOOR


def _whole(plain: psycopg.Connection) -> tuple[Any, ...]:
    cursor = plain.cursor()
    definitions = [schema.definition(cursor, one) for one in schema.made(cursor)]
    jobs = cursor.execute("SELECT name FROM grants_duejob ORDER BY name").fetchall()
    return sorted(schema.dump(cursor).splitlines()), definitions, jobs
