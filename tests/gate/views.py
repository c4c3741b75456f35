"""The gate's views as plain tables, in a database of their own: for what no portal would ever write.

A version that goes back, a notification that is lost, ten thousand random rows. tests/gate/feed/test_feed.py
has the same feed on the views of the migrations.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from grants.catalog.levels import WORDS

TABLES = """
CREATE TABLE head (seq bigint NOT NULL); INSERT INTO head VALUES (0);
CREATE TABLE events (seq bigint PRIMARY KEY, hash bytea NOT NULL DEFAULT sha256(gen_random_uuid()::text::bytea),
    restored boolean NOT NULL DEFAULT false);
INSERT INTO events (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));
CREATE VIEW gate_head AS SELECT h.seq, clock_timestamp() AS now, e.hash FROM head h JOIN events e ON e.seq = h.seq;
CREATE FUNCTION gate_continues(known bigint, known_hash bytea) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN known = 0 OR EXISTS (SELECT FROM events e WHERE e.seq = known AND e.hash = known_hash) THEN 'yes'
        WHEN EXISTS (SELECT FROM events e WHERE e.restored AND e.seq > known) THEN 'restored' ELSE 'no' END $$;
CREATE TABLE gate_connections (id bigint PRIMARY KEY, slug text, kind text, url text, host text, environment text,
    secret_ref text, version bigint);
CREATE TABLE gate_resources (id bigint PRIMARY KEY, connection_id bigint, kind text, remote_id text, name text,
    retired boolean, version bigint);
CREATE TABLE gate_subjects (id bigint PRIMARY KEY, kind text, active boolean, version bigint);
CREATE TABLE gate_grants (id bigint PRIMARY KEY, subject_id bigint, resource_id bigint, level text,
    starts_at timestamptz, until timestamptz, drain_until timestamptz, version bigint);
CREATE TABLE gate_credentials (id bigint PRIMARY KEY, kind text, digest bytea, subject_id bigint, connection_id bigint,
    grant_id bigint, expires_at timestamptz, revoked boolean, version bigint);
CREATE TABLE appended (verb text, payload bytea);
CREATE TABLE used (minute timestamptz, gate text, credential_id bigint, route text, code text, n bigint);
CREATE FUNCTION gate_append(verb text, payload bytea) RETURNS bigint LANGUAGE sql SECURITY DEFINER
    AS $$ INSERT INTO appended VALUES (verb, payload) RETURNING 1::bigint $$;
CREATE FUNCTION gate_use(rows jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO used SELECT * FROM jsonb_to_recordset(rows)
        AS r(minute timestamptz, gate text, credential_id bigint, route text, code text, n bigint) $$;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stint_gate;
"""


def superuser_url() -> str:
    return os.environ["STINT_TEST_SUPERUSER_URL"]


def url(database: str, role: str = "stint_gate") -> str:
    info = psycopg.conninfo.conninfo_to_dict(superuser_url())
    return psycopg.conninfo.make_conninfo(**{**info, "dbname": database, "user": role})


@contextmanager
def database(name: str) -> Iterator[Writer]:
    with psycopg.connect(superuser_url(), autocommit=True) as superuser:
        superuser.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        superuser.execute(f'CREATE DATABASE "{name}"')
    try:
        with psycopg.connect(url(name, "postgres"), autocommit=True) as connection:
            connection.execute(TABLES)
            yield Writer(connection, url(name))
    finally:
        with psycopg.connect(superuser_url(), autocommit=True) as superuser:
            superuser.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Writer:
    """Writes as the portal does: the next version, the rows stamped with it, the notification, in one transaction."""

    def __init__(self, connection: psycopg.Connection[Any], url: str) -> None:
        self.connection, self.url = connection, url
        self.declared = 0  # number of the last restore

    def put(self, *, notify: bool = True, **rows: list[dict[str, Any]]) -> int:
        """Rows by view ("grants", "credentials" ...), replaced by id."""
        with self.connection.transaction():
            (version,) = self.connection.execute("UPDATE head SET seq = seq + 1 RETURNING seq").fetchone()
            self.connection.execute("INSERT INTO events (seq) VALUES (%s)", [version])
            for view, these in rows.items():
                for row in these:
                    whole = {**row, "version": version}
                    columns, values = ", ".join(whole), ", ".join(["%s"] * len(whole))
                    update = ", ".join(f"{column} = excluded.{column}" for column in whole)
                    self.connection.execute(
                        f"INSERT INTO gate_{view} ({columns}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {update}",
                        list(whole.values()),
                    )
            if notify:
                self.connection.execute("SELECT pg_notify('stint', %s)", [str(version)])
        return version

    def break_lines(self) -> None:
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stint gate'"
        )

    def restore(self, dice: random.Random) -> None:
        """A backup comes back and is declared: some rows are gone, the rest is of an old version.

        No line outlives that.
        """
        with self.connection.transaction():
            self.rewind("seq / 2")
            for view in ("grants", "credentials"):
                gone = [dice.randrange(60) for _ in range(20)]
                self.connection.execute(f"DELETE FROM gate_{view} WHERE id = ANY (%s)", [gone])
            for view in ("connections", "resources", "subjects", "grants", "credentials"):
                self.connection.execute(f"UPDATE gate_{view} SET version = version / 2")
            self.declare()
        self.break_lines()

    def rewind(self, to: str) -> None:
        self.connection.execute(f"UPDATE head SET seq = {to}")
        self.connection.execute("DELETE FROM events WHERE seq > (SELECT seq FROM head)")

    def declare(self) -> None:
        """Numbers that were lost are not used again."""
        (self.declared,) = self.connection.execute(
            "UPDATE head SET seq = greatest(seq, %s) + 100000 RETURNING seq", [self.declared]
        ).fetchone()
        self.connection.execute("INSERT INTO events (seq, restored) VALUES (%s, true)", [self.declared])

    def everything(self) -> dict[str, Any]:
        """The tables as a snapshot should have them, by a query of our own, nothing of it the feed's."""
        ask = self.connection.execute
        now = datetime.now(UTC)
        slugs = dict(ask("SELECT id, slug FROM gate_connections").fetchall())
        keys = {
            row_id: (slugs[connection], kind, remote)
            for row_id, connection, kind, remote in ask("SELECT id, connection_id, kind, remote_id FROM gate_resources")
        }
        return {
            "version": ask("SELECT seq FROM head").fetchone()[0],
            "subjects": {row_id for (row_id,) in ask("SELECT id FROM gate_subjects WHERE active")},
            "grants": {
                (row_id, subject, keys[resource], level, start, until, drain)
                for row_id, subject, resource, level, start, until, drain in ask(
                    "SELECT id, subject_id, resource_id, level, starts_at, until, drain_until FROM gate_grants"
                )
                if drain > now
            },
            "credentials": {
                (bytes(digest), row_id, subject, slugs[connection], grant, expires, revoked)
                for digest, row_id, subject, connection, grant, expires, revoked in ask(
                    "SELECT digest, id, subject_id, connection_id, grant_id, expires_at, revoked FROM gate_credentials"
                )
                if expires > now
            },
            "places": {
                (keys[row_id], row_id, name)
                for row_id, name in ask("SELECT id, name FROM gate_resources WHERE NOT retired")
            },
            "hosts": dict(ask("SELECT host, slug FROM gate_connections WHERE host <> ''").fetchall()),
        }


def random_rows(dice: random.Random) -> dict[str, list[dict[str, Any]]]:
    """A change of one to five rows: new ones and others of before, with ends in the past and in the future."""

    def when() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=dice.choice([-200_000, -3600, 60, 3600, 86_400]))

    def connection() -> dict[str, Any]:
        row_id = dice.randrange(3)
        return {"id": row_id, "slug": f"c{row_id}", "kind": "prefect", "url": f"http://c{row_id}/{dice.randrange(9)}/api",
                "host": dice.choice(["", f"c{row_id}.example.org"]), "environment": "test", "secret_ref": ""}  # fmt: skip

    def resource() -> dict[str, Any]:
        row_id = dice.randrange(20)
        return {"id": row_id, "connection_id": row_id % 3, "kind": "pool", "remote_id": f"r{row_id}",
                "name": f"n{dice.randrange(9)}", "retired": dice.random() < 0.2}  # fmt: skip

    def subject() -> dict[str, Any]:
        return {"id": dice.randrange(10), "kind": "person", "active": dice.random() < 0.8}

    def grant() -> dict[str, Any]:
        row_id, until = dice.randrange(60), when()
        return {"id": row_id, "subject_id": row_id % 10, "resource_id": row_id % 20, "level": dice.choice(WORDS),
                "starts_at": until - timedelta(hours=1), "until": until, "drain_until": until}  # fmt: skip

    def credential() -> dict[str, Any]:
        row_id = dice.randrange(60)
        return {"id": row_id, "kind": "token", "digest": row_id.to_bytes(32), "subject_id": row_id % 10, "connection_id": row_id % 3,
                "grant_id": row_id, "expires_at": when(), "revoked": dice.random() < 0.3}  # fmt: skip

    kinds = {"connections": connection, "resources": resource, "subjects": subject, "grants": grant,
             "credentials": credential}  # fmt: skip
    changed: dict[str, list[dict[str, Any]]] = {}
    for _ in range(dice.randrange(1, 6)):
        kind = dice.choice(list(kinds))
        changed.setdefault(kind, []).append(kinds[kind]())
    return changed


def ground() -> dict[str, list[dict[str, Any]]]:
    """What random rows name must be there before."""
    return {
        "connections": [
            {
                "id": row_id,
                "slug": f"c{row_id}",
                "kind": "prefect",
                "url": f"http://c{row_id}/api",
                "host": f"c{row_id}.example.org",
                "environment": "test",
                "secret_ref": "",
            }
            for row_id in range(3)
        ],
        "resources": [
            {
                "id": row_id,
                "connection_id": row_id % 3,
                "kind": "pool",
                "remote_id": f"r{row_id}",
                "name": "n",
                "retired": False,
            }
            for row_id in range(20)
        ],
        "subjects": [{"id": row_id, "kind": "person", "active": True} for row_id in range(10)],
    }
