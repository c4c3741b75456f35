"""Rows of the gate's views, indexed for lookup. A change makes new tables, which share what stayed the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from sys import intern
from types import MappingProxyType
from typing import Any, NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import CatalogEntry, Credential, Grant, Snapshot, Upstream
from grants.gate.feed.shards import Shards

type ViewRow = Sequence[Any]
type Changes = Mapping[str, Sequence[ViewRow]]

# In this order: a row refers to rows of the views before its own.
VIEWS = {
    "gate_connections": "id, slug, kind, url, host, environment, secret_ref",
    "gate_resources": "id, connection_id, kind, remote_id, name, retired",
    "gate_subjects": "id, active",
    "gate_grants": "id, subject_id, resource_id, level, starts_at, until, drain_until",
    "gate_credentials": "id, kind, digest, subject_id, connection_id, grant_id, expires_at, revoked",
}
_NOTHING: Mapping[Any, Any] = MappingProxyType({})
_NONE: Shards[Any, Any] = Shards()
_LARGE = ("keys", "places", "grants", "grants_of", "credentials")


class Tables(NamedTuple):
    version: int = 0
    connections: Mapping[int, Upstream] = _NOTHING
    upstreams: Mapping[str, Upstream] = _NOTHING
    keys: Shards[int, Key] = _NONE  # of resources, by row
    places: Shards[Key, CatalogEntry] = _NONE
    subjects: frozenset[int] = frozenset()
    grants: Shards[int, Grant] = _NONE
    grants_of: Shards[int, tuple[int, ...]] = _NONE
    credentials: Shards[bytes, Credential] = _NONE

    @classmethod
    def opened(cls) -> Tables:
        """Make empty tables, which are filled in place until they are `shut`; nobody else may have them before."""
        return cls(
            keys=Shards.opened(), places=Shards.opened(), grants=Shards.opened(), grants_of=Shards.opened(),
            credentials=Shards.opened(),
        )  # fmt: skip

    def shut(self) -> Tables:
        return self._replace(**{name: getattr(self, name).shut() for name in _LARGE})

    def snapshot(self, checked_at: float, offset: timedelta) -> Snapshot:
        return Snapshot(
            version=self.version,
            checked_at=checked_at,
            clock_offset=offset,
            credentials=self.credentials,
            subjects=self.subjects,
            grants=self.grants,
            grants_of=self.grants_of,
            resources=self.places,
            upstreams=self.upstreams,
        )

    def changed(self, changes: Changes, *, version: int) -> Tables:
        """Give tables with these rows in place of those with the same ids. Rows of several views are of one moment."""
        tables = self._replace(version=version)
        for view, replace in _REPLACE.items():
            if rows := changes.get(view):
                tables = replace(tables, rows)
        return tables

    def pruned(self, before: datetime) -> Tables:
        """Give tables without what was over by then; no call is decided by it any more."""
        over = [grant for grant in self.grants.values() if grant.drain_until <= before]
        gone = {grant.id for grant in over}
        left = {
            subject: tuple(pk for pk in self.grants_of[subject] if pk not in gone)
            for subject in {grant.subject for grant in over}
        }
        return self._replace(
            grants=self.grants.changed({}, gone),
            grants_of=self.grants_of.changed(
                {subject: ids for subject, ids in left.items() if ids}, [one for one, ids in left.items() if not ids]
            ),
            credentials=self.credentials.changed(
                {}, [digest for digest, one in self.credentials.items() if one.expires_at <= before]
            ),
        )


def _connections(tables: Tables, rows: Sequence[ViewRow]) -> Tables:
    connections = dict(tables.connections)
    for row_id, slug, kind, url, host, environment, secret_ref in rows:
        connections[row_id] = Upstream(slug, kind, (host or "").lower(), url, environment, secret_ref or "", row_id)
    by_host = {upstream.host: upstream for upstream in connections.values() if upstream.host}
    return tables._replace(connections=connections, upstreams=by_host)


def _resources(tables: Tables, rows: Sequence[ViewRow]) -> Tables:
    keys: dict[int, Key] = {}
    places: dict[Key, CatalogEntry] = {}
    gone = []
    for row_id, connection, kind, remote_id, name, retired in rows:
        key = keys[row_id] = Key(tables.connections[connection].slug, intern(kind), remote_id)
        if retired:
            gone.append(key)
        else:
            places[key] = CatalogEntry(row_id, key, name)
    return tables._replace(keys=tables.keys.changed(keys), places=tables.places.changed(places, gone))


def _subjects(tables: Tables, rows: Sequence[ViewRow]) -> Tables:
    named = {row_id for row_id, _ in rows}
    return tables._replace(subjects=(tables.subjects - named) | {row_id for row_id, active in rows if active})


def _grants(tables: Tables, rows: Sequence[ViewRow]) -> Tables:
    grants: dict[int, Grant] = {}
    grants_of: dict[int, tuple[int, ...]] = {}
    for row_id, subject, resource, level, starts_at, until, drain_until in rows:
        if row_id not in tables.grants:
            grants_of[subject] = (*grants_of.get(subject, tables.grants_of.get(subject) or ()), row_id)
        grants[row_id] = Grant(row_id, subject, tables.keys[resource], Level.of(level), starts_at, until, drain_until)
    return tables._replace(grants=tables.grants.changed(grants), grants_of=tables.grants_of.changed(grants_of))


def _credentials(tables: Tables, rows: Sequence[ViewRow]) -> Tables:
    credentials: dict[bytes, Credential] = {}
    for row_id, kind, digest, subject, connection, grant, expires_at, revoked in rows:
        slug = tables.connections[connection].slug
        # Objects that exist already are used again: for a hundred thousand tokens, copies would take megabytes.
        held = tables.grants.get(grant)
        if held is not None and held.subject == subject:
            subject, grant = held.subject, held.id  # noqa: PLW2901 (equal numbers)
        credentials[digest] = Credential(row_id, intern(kind), digest, subject, slug, grant, expires_at, revoked)
    return tables._replace(credentials=tables.credentials.changed(credentials))


_REPLACE = {
    "gate_connections": _connections,
    "gate_resources": _resources,
    "gate_subjects": _subjects,
    "gate_grants": _grants,
    "gate_credentials": _credentials,
}


def touched(changes: Changes) -> frozenset[int] | None:
    """The subjects whose access these rows may have changed; None for all."""
    if changes.get("gate_connections"):
        return None
    columns = {"gate_subjects": 0, "gate_grants": 1, "gate_credentials": 3}  # of the subject
    return frozenset(row[at] for view, at in columns.items() for row in changes.get(view, ()))
