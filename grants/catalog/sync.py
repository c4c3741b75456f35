"""The catalog follows the orchestrator: what it has is here, by its upstream id; nothing is deleted."""

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
from grants.adapters.orchestrators.base import Found, Listing, Orchestrator
from grants.adapters.orchestrators.prefect import RELEASES, Prefect
from grants.adapters.secrets import resolve_secret
from grants.audit import Verb, record
from grants.catalog.changes import judged_anew
from grants.catalog.models import Connection, Resource
from grants.catalog.taken import take

log = structlog.get_logger(__name__)

# When more than a fifth of a catalog is gone at once, and no mere handful, the likelier cause is an empty
# database, a wrong URL or a filter in between. Below five a small team's ordinary tidying would be held.
HELD_SHARE = 0.2
HELD_FROM = 5

_BATCH = 1_000

type Key = tuple[str, str]


class State(StrEnum):
    SYNCED = "synced"
    HELD = "held"  # too much vanished at once: nothing retired until somebody accepts it
    PARTIAL = "partial"  # not a complete listing: nothing retired
    FAILED = "failed"  # no listing at all: nothing changed
    OVERTAKEN = "overtaken"  # a newer reading, or another URL, was there first: nothing changed


class Outcome(NamedTuple):
    slug: str
    state: State
    live: int = 0
    added: int = 0
    changed: int = 0
    retired: int = 0
    returned: int = 0
    held: int = 0
    why: str = ""

    @property
    def ok(self) -> bool:
        return self.state in {State.SYNCED, State.OVERTAKEN}

    @property
    def sentence(self) -> str:
        """What happened, for a terminal or a log."""
        if self.state is State.FAILED:
            return f"{self.slug}: failed. {self.why}"
        if self.state is State.OVERTAKEN:
            return f"{self.slug}: skipped, a newer sync was there first."
        counts = {"new": self.added, "changed": self.changed, "retired": self.retired, "back": self.returned}
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing new"
        text = f"{self.slug}: {self.live} live, {said}."
        if self.state is State.HELD:
            text += f" {self.held} vanished at once and are held;"
            text += f" `manage.py sync {self.slug} --accept-vanished` retires them."
        return f"{text} {self.why}".rstrip()


class _Changes(NamedTuple):
    added: list[Resource]
    changed: list[Resource]
    returned: list[Resource]
    vanished: list[Resource]


def _prefect(connection: Connection) -> Orchestrator:
    secret = resolve_secret(connection.secret_ref) if connection.secret_ref else ""
    return Prefect.at(connection.url, who=connection.slug, secret=secret)


ORCHESTRATORS: Mapping[str, Callable[[Connection], Orchestrator]] = {Connection.Kind.PREFECT: _prefect}


def sync_connection(
    connection: Connection,
    *,
    client: Orchestrator | None = None,
    accept_vanished: bool = False,
    by: str = "sweeper",
) -> Outcome:
    """Read what `connection` has, then bring its catalog to that in one transaction, as one event or none.

    The network is read before the transaction. The time of that start decides between two syncs: the later
    reading wins, and an earlier one that arrives after it changes nothing. `accept_vanished` retires what an
    earlier sync held. Failures of the orchestrator are an outcome, not an exception.
    """
    read_at = clock.now()
    try:
        version, listing = _read(connection, client)
    except AdapterError as error:
        Connection.objects.filter(Q(seen_at=None) | Q(seen_at__lte=read_at), pk=connection.pk).update(
            error=error.reason
        )
        return Outcome(connection.slug, State.FAILED, why=error.reason)
    with transaction.atomic():
        # The lock that two syncs queue on, taken before any resource's.
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if (locked.url, locked.kind) != (connection.url, connection.kind) or (
            locked.seen_at and locked.seen_at > read_at
        ):
            return Outcome(connection.slug, State.OVERTAKEN)
        locked.server_version = version
        return _apply(locked, listing, read_at, accept_vanished=accept_vanished, by=by)


def server_version(connection: Connection) -> str:
    """Ask the server of `connection`, which need not be saved, for its version. Raises as Orchestrator.version does."""
    with closing(ORCHESTRATORS[connection.kind](connection)) as reader:
        return reader.version()


def version_warning(connection: Connection) -> str:
    """What to expect of a server newer than any that Stint was tested with, a sentence; "" where it is none."""
    return RELEASES.warning(connection.server_version)


def _read(connection: Connection, client: Orchestrator | None) -> tuple[str, Listing]:
    reader = client or ORCHESTRATORS[connection.kind](connection)
    try:
        return reader.version(), reader.listing()
    finally:
        if client is None:
            reader.close()


def _apply(connection: Connection, listing: Listing, read_at: datetime, *, accept_vanished: bool, by: str) -> Outcome:
    rows = {
        (row.kind, row.remote_id): row
        for row in connection.resources.order_by("pk").defer("words").select_for_update(no_key=True)
    }
    live = sum(row.retired_at is None for row in rows.values())
    taken = take(listing)
    found = {one.key: one for one in taken.found}
    changes = _upsert(connection, found, rows, read_at)
    changes.vanished.extend(
        row
        for key, row in rows.items()
        if listing.complete and key not in found and row.retired_at is None and row.seen_at <= read_at
    )
    held = 0 if accept_vanished or not _too_many(len(changes.vanished), live) else len(changes.vanished)
    retired = [] if held else changes.vanished
    Resource.objects.filter(pk__in=[row.pk for row in retired]).update(retired_at=read_at)
    written = [row.pk for row in (*changes.added, *changes.changed, *changes.returned)]
    judged_anew.send(sender=None, connections=[connection.pk], changed=written)
    newly_held = held > 0 and held != connection.held
    _note(connection, listing, read_at, held, taken.left_out)
    _record(
        connection, changes, retired, verb=Verb.CATALOG_HELD if newly_held else Verb.CATALOG_SYNCED, held=held, by=by
    )
    return Outcome(
        connection.slug,
        State.PARTIAL if not listing.complete else State.HELD if held else State.SYNCED,
        live=live + len(changes.added) + len(changes.returned) - len(retired),
        added=len(changes.added),
        changed=len(changes.changed),
        retired=len(retired),
        returned=len(changes.returned),
        held=held,
        why=" ".join(filter(None, [listing.why, taken.left_out, version_warning(connection)])),
    )


def _record(
    connection: Connection, changes: _Changes, retired: list[Resource], *, verb: Verb, held: int, by: str
) -> None:
    """One event for one sync, stamped on every row it touched; none when there is nothing to tell."""
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


def _too_many(vanished: int, live: int) -> bool:
    return vanished >= HELD_FROM and vanished > HELD_SHARE * live


def _upsert(
    connection: Connection, found: Mapping[Key, Found], rows: dict[Key, Resource], read_at: datetime
) -> _Changes:
    """Write what was found, into `rows` too: new ones, changed ones, retired ones that came back."""
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
    # A row that a newer reading saw already is newer than what we hold.
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


def _parent_id(one: Found, row: Resource, rows: Mapping[Key, Resource]) -> int | None:
    """The row of its parent. One that a partial listing lacks says nothing: the known one stays."""
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
    """How the sync went, for the page: nothing that the gate reads, so nothing is stamped."""
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
