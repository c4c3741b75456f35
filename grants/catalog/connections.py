"""Apply connections.yaml: add connections, or change them by slug; never remove one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from accounts.errors import NotAllowed
from accounts.models import Subject
from grants import clock
from grants.audit import Verb, record
from grants.catalog.changes import judged_anew
from grants.catalog.models import Connection
from grants.catalog.sentences import Says
from grants.catalog.specs import ConnectionSpec
from grants.due import DueJob

# The column of each field of a spec, without the slug, which never changes.
_COLUMNS = {
    "kind": "kind",
    "url": "url",
    "host": "host",
    "environment": "environment",
    "owner": "owner_team",
    "secret": "secret_ref",
}


class ConnectionChange(NamedTuple):
    """What applying one spec changed; `fields` are the names of the changed fields in the spec."""

    slug: str
    added: bool
    fields: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        if self.added:
            return f"{self.slug}: added"
        return f"{self.slug}: changed {', '.join(self.fields)}" if self.fields else f"{self.slug}: as it was"


@transaction.atomic
def apply_connections(specs: Sequence[ConnectionSpec], *, by: Subject | str) -> list[ConnectionChange]:
    """Add or change connections by slug, all or none, with one event; make each of them due for a sync now.

    A connection that the file does not name stays as it is: people may hold access to its resources.
    Raises NotAllowed when a slug belongs to an orchestrator of another kind, whose resources would become something
    else, and when a host belongs to another connection: the gate finds the connection of a call by its host.
    """
    known = {row.slug: row for row in Connection.objects.order_by("pk").select_for_update(no_key=True)}
    _free_hosts(specs, known)
    applied: list[ConnectionChange] = []
    touched: list[Connection] = []
    for spec in specs:
        row = known.get(spec.slug)
        values = {column: getattr(spec, field) for field, column in _COLUMNS.items()}
        if row is None:
            touched.append(Connection.objects.create(slug=spec.slug, **values))
            applied.append(ConnectionChange(spec.slug, added=True))
            continue
        if row.kind != spec.kind:
            raise NotAllowed(Says.KIND_CHANGED, slug=spec.slug)
        fields = tuple(field for field, column in _COLUMNS.items() if getattr(row, column) != values[column])
        if fields:
            Connection.objects.filter(pk=row.pk).update(
                **{_COLUMNS[field]: values[_COLUMNS[field]] for field in fields}
            )
            touched.append(row)
        applied.append(ConnectionChange(spec.slug, added=False, fields=fields))
    now = clock.now()
    for row in touched:
        DueJob.objects.update_or_create(name=sync_job(row.slug), defaults={"due_at": now})
    if touched:
        judged_anew.send(sender=None, connections=[row.pk for row in touched], changed=None)
        record(Verb.CONNECTION_APPLIED, by=by, on=touched)
    return applied


def _free_hosts(specs: Sequence[ConnectionSpec], known: Mapping[str, Connection]) -> None:
    """Clear the hosts that move to another connection, because a host belongs to one connection at any moment."""
    named = {spec.slug: spec.host for spec in specs}
    for slug, row in known.items():
        if slug not in named and row.host and row.host in named.values():
            raise NotAllowed(Says.HOST_TAKEN, host=row.host, slug=slug)
    moving = [row.pk for slug, row in known.items() if slug in named and row.host not in ("", named[slug])]
    Connection.objects.filter(pk__in=moving).update(host="")


def sync_job(slug: str) -> str:
    """The name of the due row that syncs this connection."""
    return f"sync:{slug}"
