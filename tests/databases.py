"""The databases of a test run: migrated once for all workers, and the cast kept in each, to be put back in one call.

Making either again took most of the run's time: seconds for the tables, and 90 queries and a policy read for the cast
of every test. What is put back is what make_cast() wrote, row by row, with its times moved on to now.
"""

from __future__ import annotations

import os

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql

from accounts.models import IdP, Subject
from grants.catalog.models import Connection, Resource
from grants.policy.models import PolicyVersion
from tests.cast import Cast, make_cast

SUPERUSER = os.environ["STINT_TEST_SUPERUSER_URL"]
MIGRATED = "test_migrated"
_ONE_AT_A_TIME = 4711  # of the advisory lock under which MIGRATED is made and copied

EMPTY = """
CREATE SCHEMA kept;
GRANT USAGE ON SCHEMA kept TO stint_app;
CREATE FUNCTION kept.empty() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$
DECLARE emptied text;
BEGIN
    FOR emptied IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
        AND tablename ~ '^(accounts|grants|django_session)'
        AND tablename NOT IN ('grants_audithead', 'grants_duejob', 'grants_cursor')
    LOOP
        EXECUTE format('DELETE FROM public.%I', emptied);
    END LOOP;
    DELETE FROM grants_duejob WHERE name NOT IN ('mail', 'heads');
    UPDATE grants_duejob SET due_at = clock_timestamp(), lease_until = NULL;
    UPDATE grants_cursor SET seq = 0, error = '';
    UPDATE grants_audithead SET seq = 0, hash = decode(repeat('00', 32), 'hex'), xact = 0, base = 0;
    UPDATE stint_clock SET at = NULL;
END $$;
"""


def connect(role: str, **options: object) -> psycopg.Connection:
    """A connection of its own to this worker's database, as one of the roles or "superuser"."""
    info = psycopg.conninfo.conninfo_to_dict(SUPERUSER)
    info["dbname"] = connection.settings_dict["NAME"]
    if role != "superuser":
        info["user"] = role
    return psycopg.connect(**info, **options)  # type: ignore[arg-type]


def copied(name: str) -> None:
    """Make the database `name`, of stint_owner and with what the migrations make; the first caller of a run migrates."""
    with psycopg.connect(SUPERUSER, autocommit=True) as superuser:
        superuser.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
        if not superuser.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED]).fetchone():
            superuser.execute(f'CREATE DATABASE "{MIGRATED}" OWNER stint_owner')
            _migrate_there()
        superuser.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        superuser.execute(f'CREATE DATABASE "{name}" TEMPLATE "{MIGRATED}" OWNER stint_owner')


def _migrate_there() -> None:
    before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = MIGRATED
    try:
        migrate()
    finally:
        connection.settings_dict["NAME"] = before


def migrate(*statements: str) -> None:
    """Make the tables, as owner, of the database that Django's default connection is set to; then run `statements`."""
    connections.databases["owner"] = connection.settings_dict | {"USER": "stint_owner"}
    call_command("migrate", verbosity=0, database="owner")
    with connections["owner"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connections["owner"].close()
    del connections["owner"], connections.databases["owner"]


class KeptCast:
    """The cast, made once by make_cast() in this worker's database, which is empty again after that."""

    def __init__(self) -> None:
        made = make_cast()
        self._idp = made.idp
        self._people = {name: one.pk for name, one in vars(made).items() if isinstance(one, Subject)}
        self._things = {name: one.pk for name, one in vars(made).items() if isinstance(one, Resource)}
        self._connection, self._policy = made.connection.pk, made.policy.pk
        with connect("superuser") as superuser:
            _keep(superuser)
            superuser.execute("SELECT kept.empty()")

    def again(self) -> Cast | None:
        """The same cast, as if it were made now; None where the settings or the database are not as they were then."""
        env, idp = settings.ENV, self._idp
        if (env.idp_slug, env.idp_kind, env.oidc_issuer) != (idp.slug, idp.kind, idp.issuer):
            return None
        with connection.cursor() as cursor:
            cursor.execute("SELECT kept.put_back()")
            if not cursor.fetchone()[0]:
                return None
        people, there = Subject.objects.in_bulk(), Connection.objects.get(pk=self._connection)
        things = Resource.objects.in_bulk()
        for one in things.values():
            one.connection = there
            if one.parent_id:
                one.parent = things[one.parent_id]
        return Cast(
            idp=IdP.objects.get(pk=idp.pk),
            connection=there,
            policy=PolicyVersion.objects.get(pk=self._policy),
            **{name: people[pk] for name, pk in self._people.items()},
            **{name: things[pk] for name, pk in self._things.items()},
        )


def _keep(superuser: psycopg.Connection) -> None:
    """Copy all rows that there are, and make the function that puts them back into a database without any."""
    there = superuser.execute(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position), array_agg(data_type::text ORDER BY ordinal_position)"
        " FROM information_schema.columns JOIN pg_tables ON (schemaname, tablename) = (table_schema, table_name)"
        " WHERE table_schema = 'public' AND table_name ~ '^(accounts|grants)' AND is_generated = 'NEVER' GROUP BY 1"
    ).fetchall()
    back: list[sql.Composable] = []
    for table, columns, types in there:
        kept, own = sql.Identifier("kept", table), sql.Identifier("public", table)
        if table in ("grants_duejob", "grants_cursor"):
            continue
        if not superuser.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(own)).fetchone():
            continue
        superuser.execute(sql.SQL("CREATE TABLE {} AS SELECT * FROM {}").format(kept, own))
        names = [sql.Identifier(column) for column in columns]
        # What the record says is under its hashes; every other time is moved on.
        moved = [
            sql.SQL("{} + later").format(name) if "timestamp" in kind and table != "grants_auditevent" else name
            for name, kind in zip(names, types, strict=True)
        ]
        if table == "grants_audithead":
            back.append(sql.SQL("DELETE FROM {};").format(own))
        back.append(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {};").format(
                own, sql.SQL(", ").join(names), sql.SQL(", ").join(moved), kept
            )
        )
    superuser.execute("CREATE TABLE kept.since AS SELECT stint_now() AS at")
    superuser.execute(
        sql.SQL("""
        CREATE FUNCTION kept.put_back() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
        SET session_replication_role = replica AS $$
        DECLARE later interval := stint_now() - (SELECT at FROM kept.since);
        BEGIN
            IF EXISTS (SELECT FROM public.grants_audithead WHERE seq <> 0)
            OR EXISTS (SELECT FROM public.accounts_idp) OR EXISTS (SELECT FROM public.accounts_team)
            OR EXISTS (SELECT FROM public.accounts_subject) OR EXISTS (SELECT FROM public.grants_connection)
            OR EXISTS (SELECT FROM public.grants_policyversion)
            THEN
                RETURN false;
            END IF;
            {}
            -- As if this transaction had recorded it all: the rest of it may change these rows, as it may after make_cast().
            UPDATE public.grants_audithead SET xact = pg_current_xact_id()::text::bigint, base = 0;
            RETURN true;
        END $$
        """).format(sql.SQL("\n").join(back))
    )
