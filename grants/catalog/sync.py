"""Sync the catalog with what an orchestrator has, matched by the id there. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from grants import clock, due
from grants.adapters.errors import AdapterError
from grants.adapters.listings import looks_broken
from grants.adapters.orchestrators.base import Listing, OrchestratorAdapter, RemoteResource
from grants.adapters.orchestrators.prefect import RELEASES, Prefect
from grants.adapters.secrets import resolve_secret
from grants.audit import Verb, record
from grants.catalog.accepted import accept
from grants.catalog.changes import judged_anew
from grants.catalog.models import Connection, Resource

log = structlog.get_logger(__name__)

HELD_FROM = 5  # resources that vanish at once; a small team tidies up fewer (listings.looks_broken)

_BATCH = 1_000

type Key = tuple[str, str]


class SyncState(StrEnum):
    SYNCED = "synced"
    HELD = "held"  # too many vanished at once: nothing is retired until an admin accepts it
    PARTIAL = "partial"  # the listing was not complete: nothing was retired
    FAILED = "failed"  # there was no listing: nothing was changed
    OVERTAKEN = "overtaken"  # a newer sync was applied meanwhile, or the URL was changed: nothing was changed


class SyncOutcome(NamedTuple):
    slug: str
    state: SyncState
    live: int = 0
    added: int = 0
    changed: int = 0
    retired: int = 0
    returned: int = 0
    held: int = 0
    why: str = ""

    @property
    def ok(self) -> bool:
        return self.state in {SyncState.SYNCED, SyncState.OVERTAKEN}

    @property
    def sentence(self) -> str:
        """The outcome in words, for a terminal or a log."""
        if self.state is SyncState.FAILED:
            return f"{self.slug}: failed. {self.why}"
        if self.state is SyncState.OVERTAKEN:
            return f"{self.slug}: skipped, a newer sync was there first."
        counts = {"new": self.added, "changed": self.changed, "retired": self.retired, "back": self.returned}
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing new"
        text = f"{self.slug}: {self.live} live, {said}."
        if self.state is SyncState.HELD:
            text += f" {self.held} vanished at once and are held;"
            text += f" `manage.py sync {self.slug} --accept-vanished` retires them."
        return f"{text} {self.why}".rstrip()


class _Changes(NamedTuple):
    added: list[Resource]
    changed: list[Resource]
    returned: list[Resource]
    vanished: list[Resource]


def _prefect(connection: Connection) -> OrchestratorAdapter:
    secret = resolve_secret(connection.secret_ref) if connection.secret_ref else ""
    return Prefect.at(connection.url, who=connection.slug, secret=secret)


ORCHESTRATORS: Mapping[str, Callable[[Connection], OrchestratorAdapter]] = {Connection.Kind.PREFECT: _prefect}


def sync_connection(
    connection: Connection,
    *,
    client: OrchestratorAdapter | None = None,
    accept_vanished: bool = False,
    by: str = "sweeper",
) -> SyncOutcome:
    """Read everything that `connection` has, then update its catalog in one transaction, with one event if it changed.

    The network is read before the transaction. Of two syncs, the one that began to read later wins; the other one
    changes nothing when it comes second. `accept_vanished` retires what an earlier sync held. A failure of the
    orchestrator is an outcome; it is not raised.
    """
    read_at = clock.now()
    try:
        version, listing = _read(connection, client)
    except AdapterError as error:
        Connection.objects.filter(Q(seen_at=None) | Q(seen_at__lte=read_at), pk=connection.pk).update(
            error=error.reason
        )
        return SyncOutcome(connection.slug, SyncState.FAILED, why=error.reason)
    with transaction.atomic():
        # Two syncs queue on this lock. It is taken before the lock of any resource.
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if (locked.url, locked.kind) != (connection.url, connection.kind) or (
            locked.seen_at and locked.seen_at > read_at
        ):
            return SyncOutcome(connection.slug, SyncState.OVERTAKEN)
        locked.server_version = version
        return _apply(locked, listing, read_at, accept_vanished=accept_vanished, by=by)


def server_version(connection: Connection) -> str:
    """Ask the server of an unsaved or saved `connection` for its version. Raises as version() does."""
    with closing(ORCHESTRATORS[connection.kind](connection)) as reader:
        return reader.version()


def version_warning(connection: Connection) -> str:
    """Say in a sentence what to expect of a server newer than any tested one; "" for a tested version."""
    return RELEASES.warning(connection.server_version)


def _read(connection: Connection, client: OrchestratorAdapter | None) -> tuple[str, Listing]:
    reader = client or ORCHESTRATORS[connection.kind](connection)
    try:
        return reader.version(), reader.listing()
    finally:
        if client is None:
            reader.close()


def _apply(
    connection: Connection, listing: Listing, read_at: datetime, *, accept_vanished: bool, by: str
) -> SyncOutcome:
    rows = {
        (row.kind, row.remote_id): row
        for row in connection.resources.order_by("pk").defer("words").select_for_update(no_key=True)
    }
    live = sum(row.retired_at is None for row in rows.values())
    accepted = accept(listing)
    found = {one.key: one for one in accepted.resources}
    changes = _upsert(connection, found, rows, read_at)
    changes.vanished.extend(
        row
        for key, row in rows.items()
        if listing.complete and key not in found and row.retired_at is None and row.seen_at <= read_at
    )
    vanished = len(changes.vanished)
    held = vanished if looks_broken(vanished, live, at_least=HELD_FROM) and not accept_vanished else 0
    retired = [] if held else changes.vanished
    Resource.objects.filter(pk__in=[row.pk for row in retired]).update(retired_at=read_at)
    written = [row.pk for row in (*changes.added, *changes.changed, *changes.returned)]
    judged_anew.send(sender=None, connections=[connection.pk], changed=written)
    newly_held = held > 0 and held != connection.held
    _note(connection, listing, read_at, held, accepted.left_out)
    _record(
        connection, changes, retired, verb=Verb.CATALOG_HELD if newly_held else Verb.CATALOG_SYNCED, held=held, by=by
    )
    return SyncOutcome(
        connection.slug,
        SyncState.PARTIAL if not listing.complete else SyncState.HELD if held else SyncState.SYNCED,
        live=live + len(changes.added) + len(changes.returned) - len(retired),
        added=len(changes.added),
        changed=len(changes.changed),
        retired=len(retired),
        returned=len(changes.returned),
        held=held,
        why=" ".join(filter(None, [listing.why, accepted.left_out, version_warning(connection)])),
    )


def _record(
    connection: Connection, changes: _Changes, retired: list[Resource], *, verb: Verb, held: int, by: str
) -> None:
    """Record one event for the sync and stamp it on every row that changed; record none when nothing changed."""
    touched = [*changes.added, *changes.changed, *changes.returned, *retired]
    if touched or verb is Verb.CATALOG_HELD:
        record(
            verb,
            by=by,
            on=touched,
            connection=connection.pk,
            added=[row.pk for row in changes.added],
            retired=[row.pk for row in retired],
            returned=[row.pk for row in changes.returned],
            held=held,
        )


def _upsert(
    connection: Connection, found: Mapping[Key, RemoteResource], rows: dict[Key, Resource], read_at: datetime
) -> _Changes:
    """Write the new, the changed and the returned resources, and add the new ones to `rows`."""
    known = set(rows)
    added = Resource.objects.bulk_create(
        [
            Resource(connection=connection, kind=one.kind, remote_id=one.remote_id, name=one.name, seen_at=read_at)
            for key, one in found.items()
            if key not in known
        ],
        batch_size=_BATCH,
    )
    rows.update(((row.kind, row.remote_id), row) for row in added)
    written: list[Resource] = []
    changed: list[Resource] = []
    returned: list[Resource] = []
    # A row that a newer sync has seen is newer than this listing.
    current = [(rows[key], one) for key, one in found.items() if rows[key].seen_at <= read_at]
    for row, one in current:
        before = (row.name, row.description, row.tags, row.parent_id, row.retired_at)
        after = (one.name, one.description, list(one.tags), _parent_id(one, row, rows), None)
        if before != after:
            row.name, row.description, row.tags, row.parent_id, row.retired_at = after
            written.append(row)
            if before[-1] is not None:
                returned.append(row)
            elif one.key in known:
                changed.append(row)
    _write(written)
    Resource.objects.filter(pk__in=[row.pk for row, _ in current]).update(seen_at=read_at)
    return _Changes(added, changed, returned, [])


def _parent_id(one: RemoteResource, row: Resource, rows: Mapping[Key, Resource]) -> int | None:
    """The row of the parent. When a partial listing lacks the parent, the known one stays."""
    if not one.parent_kind:
        return None
    parent = rows.get((one.parent_kind, one.parent_remote_id))
    return parent.pk if parent else row.parent_id


def _write(rows: Iterable[Resource]) -> None:
    Resource.objects.bulk_update(
        sorted(rows, key=lambda row: row.pk),
        ["name", "description", "tags", "parent", "retired_at"],
        batch_size=_BATCH,
    )


def _note(connection: Connection, listing: Listing, read_at: datetime, held: int, left_out: str) -> None:
    """Keep the result of the sync for the connections page. The gate does not read it, so no version is stamped."""
    if listing.complete:
        error = f"{connection.LEFT_OUT}{left_out}" if left_out else ""
        if error and error != connection.error:
            log.warning("names_left_out", connection=connection.slug, what=left_out)
        connection.seen_at, connection.held, connection.error = read_at, held, error
    else:
        connection.error = listing.why
    connection.save(update_fields=["seen_at", "held", "error", "server_version"])


@due.job("sync")
def _sync_due(slug: str) -> timedelta:
    sync_connection(Connection.objects.get(slug=slug))
    return timedelta(seconds=settings.ENV.sync_seconds)
