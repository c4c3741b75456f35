"""Rows of the gate's views, as they are looked up. A change makes new tables, which share what stayed the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.types import Credential, Grant, Place, Snapshot, Upstream

type Row = Sequence[Any]
type Changes = Mapping[str, Sequence[Row]]

# In this order: a row names rows of views before its own.
VIEWS = {
    "gate_connections": "id, slug, kind, url, host, environment, secret_ref",
    "gate_resources": "id, connection_id, kind, remote_id, name, retired",
    "gate_subjects": "id, active",
    "gate_grants": "id, subject_id, resource_id, level, starts_at, until, drain_until",
    "gate_credentials": "id, kind, digest, subject_id, connection_id, grant_id, expires_at, revoked",
}
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Tables(NamedTuple):
    version: int = 0
    connections: Mapping[int, Upstream] = _NOTHING
    upstreams: Mapping[str, Upstream] = _NOTHING
    keys: Mapping[int, Key] = _NOTHING  # of resources, by row
    places: Mapping[Key, Place] = _NOTHING
    subjects: frozenset[int] = frozenset()
    grants: Mapping[int, Grant] = _NOTHING
    grants_of: Mapping[int, tuple[int, ...]] = _NOTHING
    credentials: Mapping[bytes, Credential] = _NOTHING

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
        """With these rows in the place of those of the same ids. Rows of several views are of one moment."""
        tables = self._replace(version=version)
        for view, replace in _REPLACE.items():
            if rows := changes.get(view):
                tables = replace(tables, rows)
        return tables

    def pruned(self, before: datetime) -> Tables:
        """Without what was over by then: its rows are in the database still, and nobody asks for them here."""
        kept = {row_id: grant for row_id, grant in self.grants.items() if grant.drain_until > before}
        return self._replace(
            grants=kept,
            grants_of=_by_subject(kept.values()),
            credentials={digest: one for digest, one in self.credentials.items() if one.expires_at > before},
        )


def _connections(tables: Tables, rows: Sequence[Row]) -> Tables:
    connections = dict(tables.connections)
    for row_id, slug, kind, url, host, environment, secret_ref in rows:
        connections[row_id] = Upstream(slug, kind, (host or "").lower(), url, environment, secret_ref or "", row_id)
    by_host = {upstream.host: upstream for upstream in connections.values() if upstream.host}
    return tables._replace(connections=connections, upstreams=by_host)


def _resources(tables: Tables, rows: Sequence[Row]) -> Tables:
    keys, places = dict(tables.keys), dict(tables.places)
    for row_id, connection, kind, remote_id, name, retired in rows:
        key = keys[row_id] = Key(tables.connections[connection].slug, kind, remote_id)
        places.pop(key, None)
        if not retired:
            places[key] = Place(row_id, key, name)
    return tables._replace(keys=keys, places=places)


def _subjects(tables: Tables, rows: Sequence[Row]) -> Tables:
    named = {row_id for row_id, _ in rows}
    return tables._replace(subjects=(tables.subjects - named) | {row_id for row_id, active in rows if active})


def _grants(tables: Tables, rows: Sequence[Row]) -> Tables:
    grants, grants_of = dict(tables.grants), dict(tables.grants_of)
    for row_id, subject, resource, level, starts_at, until, drain_until in rows:
        if row_id not in grants:
            grants_of[subject] = (*grants_of.get(subject, ()), row_id)
        grants[row_id] = Grant(row_id, subject, tables.keys[resource], Level.of(level), starts_at, until, drain_until)
    return tables._replace(grants=grants, grants_of=grants_of)


def _credentials(tables: Tables, rows: Sequence[Row]) -> Tables:
    credentials = dict(tables.credentials)
    for row_id, kind, digest, subject, connection, grant, expires_at, revoked in rows:
        slug = tables.connections[connection].slug
        credentials[digest] = Credential(row_id, kind, digest, subject, slug, grant, expires_at, revoked)
    return tables._replace(credentials=credentials)


def _by_subject(grants: Iterable[Grant]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for grant in grants:
        found.setdefault(grant.subject, []).append(grant.id)
    return {subject: tuple(ids) for subject, ids in found.items()}


_REPLACE = {
    "gate_connections": _connections,
    "gate_resources": _resources,
    "gate_subjects": _subjects,
    "gate_grants": _grants,
    "gate_credentials": _credentials,
}
