"""What the schema must be, read from the database itself."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command

from tests.conftest import connect

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = [path for room in ("accounts", "grants") for path in sorted((ROOT / room / "migrations").glob("0*.py"))]
RIGHTS = {  # the last migration that lists a table's rights says them whole
    table: rights
    for migration in MIGRATIONS
    for table, rights in getattr(
        importlib.import_module(f"{migration.parts[-3]}.migrations.{migration.stem}"), "RIGHTS", {}
    ).items()
}


@pytest.mark.usefixtures("commits")
def test_no_foreign_key_is_deferrable() -> None:
    """Deferred keys lock at COMMIT, after the head of the record: two actions would wait for each other."""
    with connect("stint_owner") as owner:
        rows = owner.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' AND condeferrable").fetchall()
    assert rows == []


@pytest.mark.usefixtures("commits")
def test_the_app_has_the_rights_that_are_listed_and_no_other() -> None:
    with connect("superuser") as superuser:
        tables = superuser.execute(
            "SELECT table_name, privilege_type FROM information_schema.table_privileges"
            " WHERE grantee = 'stint_app' AND table_schema = 'public' AND table_name <> 'stint_clock'"
        ).fetchall()
        columns = superuser.execute(
            "SELECT c.table_name, c.privilege_type, c.column_name FROM information_schema.column_privileges c"
            " WHERE c.grantee = 'stint_app' AND c.table_schema = 'public' AND c.privilege_type = 'UPDATE'"
            " AND c.table_name <> 'stint_clock'"
            " AND NOT EXISTS (SELECT FROM information_schema.table_privileges t WHERE t.grantee = 'stint_app'"
            "   AND t.table_name = c.table_name AND t.privilege_type = 'UPDATE')"
        ).fetchall()
        public = superuser.execute(
            "SELECT table_name FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' AND table_schema = 'public'"
        ).fetchall()
    had: dict[str, set[str]] = {}
    for table, privilege in tables:
        had.setdefault(table, set()).add(privilege)
    updatable: dict[str, set[str]] = {}
    for table, _, column in columns:
        updatable.setdefault(table, set()).add(column)
    for table, rights in RIGHTS.items():
        whole, _, listed = rights.partition("UPDATE (")
        expected = {word.strip(" ,") for word in whole.split(",") if word.strip(" ,")}
        if listed:
            inside, _, rest = listed.partition(")")
            expected |= {word.strip(" ,") for word in rest.split(",") if word.strip(" ,")}
            assert updatable.pop(table) == {name.strip() for name in inside.split(",")}, table
        assert had.pop(table, set()) == expected, table
    assert not had
    assert not updatable
    assert public == []


@pytest.mark.usefixtures("commits")
def test_the_migrations_say_what_the_models_say() -> None:
    """Here and not in `make check`: Django asks the database which columns it can generate."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.usefixtures("commits")
def test_a_column_that_no_model_has_needs_no_value() -> None:
    """It stays for the release before; the present one inserts rows without it. Fault: it keeps NOT NULL and no default."""
    models = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    with connect("stint_owner") as owner:
        rows = owner.execute(
            "SELECT table_name, column_name, is_nullable = 'YES' OR is_identity = 'YES' OR column_default IS NOT NULL"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY (%s)",
            [list(models)],
        ).fetchall()
    left = {(table, column): needs_none for table, column, needs_none in rows
            if column not in {field.column for field in models[table]._meta.local_fields}}  # fmt: skip
    assert set(left) == {("accounts_idp", "secret_ref"), ("grants_rolebinding", "want_until")}
    assert all(left.values()), left
