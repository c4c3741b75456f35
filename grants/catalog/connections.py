"""Connections come from connections.yaml: added or changed by slug, never removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from accounts.models import Subject
from grants import clock
from grants.audit import Verb, record
from grants.catalog.changes import judged_anew
from grants.catalog.models import Connection
from grants.catalog.specs import ConnectionSpec
from grants.due import DueJob

# The column of each field of a spec but the slug, which never changes.
_COLUMNS = {
    "kind": "kind",
    "url": "url",
    "host": "host",
    "environment": "environment",
    "owner": "owner_team",
    "secret": "secret_ref",
}


class Applied(NamedTuple):
    """What applying one spec did: `fields` are the spec's words for what changed."""

    slug: str
    added: bool
    fields: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        if self.added:
            return f"{self.slug}: added"
        return f"{self.slug}: changed {', '.join(self.fields)}" if self.fields else f"{self.slug}: as it was"


class KindChanged(Exception):
    """A slug cannot pass to another brand of orchestrator: its resources would change their nature."""

    def __init__(self, slug: str) -> None:
        self.reason = f"{slug} is of another kind already; give the new orchestrator a slug of its own."
        super().__init__(self.reason)


class HostTaken(Exception):
    """One host is one orchestrator: the gate tells them apart by it."""

    def __init__(self, host: str, by: str) -> None:
        self.reason = f"{host} is the host of {by} already, which the file does not name."
        super().__init__(self.reason)


@transaction.atomic
def apply_connections(specs: Sequence[ConnectionSpec], *, by: Subject | str) -> list[Applied]:
    """Upsert by slug, all or none, as one event or none; what was added or changed is due for a sync now.

    A connection that the file no longer names stays as it is: people may hold access to what it has.
    Raises KindChanged, HostTaken.
    """
    known = {row.slug: row for row in Connection.objects.order_by("pk").select_for_update(no_key=True)}
    _free_hosts(specs, known)
    applied: list[Applied] = []
    touched: list[Connection] = []
    for spec in specs:
        row = known.get(spec.slug)
        values = {column: getattr(spec, field) for field, column in _COLUMNS.items()}
        if row is None:
            touched.append(Connection.objects.create(slug=spec.slug, **values))
            applied.append(Applied(spec.slug, added=True))
            continue
        if row.kind != spec.kind:
            raise KindChanged(spec.slug)
        fields = tuple(field for field, column in _COLUMNS.items() if getattr(row, column) != values[column])
        if fields:
            Connection.objects.filter(pk=row.pk).update(
                **{_COLUMNS[field]: values[_COLUMNS[field]] for field in fields}
            )
            touched.append(row)
        applied.append(Applied(spec.slug, added=False, fields=fields))
    now = clock.now()
    for row in touched:
        DueJob.objects.update_or_create(name=sync_job(row.slug), defaults={"due_at": now})
    if touched:
        judged_anew.send(sender=None, connections=[row.pk for row in touched], changed=None)
        record(Verb.CONNECTION_APPLIED, by=by, on=touched)
    return applied


def _free_hosts(specs: Sequence[ConnectionSpec], known: Mapping[str, Connection]) -> None:
    """Hosts that move from one connection to another are let go first: each has one at any moment."""
    named = {spec.slug: spec.host for spec in specs}
    for slug, row in known.items():
        if slug not in named and row.host and row.host in named.values():
            raise HostTaken(row.host, slug)
    moving = [row.pk for slug, row in known.items() if slug in named and row.host not in ("", named[slug])]
    Connection.objects.filter(pk__in=moving).update(host="")


def sync_job(slug: str) -> str:
    """The name of the due row that syncs this connection."""
    return f"sync:{slug}"
