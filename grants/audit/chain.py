"""Append events to the record, and compute the hashes of its chain as the database computes them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from accounts.models import Subject
from grants.audit.verbs import Verb

GENESIS = bytes(32)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD, _LENGTH = struct.Struct(">qqi"), struct.Struct(">i")

# The models with a column `version`, in the order of audit_append()'s arguments.
STAMPED = ("grant", "subject", "resource", "connection", "credential")

type Fact = int | str | bool | Sequence[int] | Sequence[str] | None


class Event(NamedTuple):
    """An event that is about to be recorded: the arguments of record()."""

    verb: Verb
    facts: Mapping[str, Fact]
    on: Sequence[Model] = ()


_APPEND_ALL = "SELECT audit_append_all(%s, %s, %s)"  # for events that stamp no row
_APPEND = f"SELECT audit_append(%s, %s, %s{', %s::bigint[]' * len(STAMPED)})"


def record(verb: Verb, *, by: Subject | str, on: Iterable[Model] = (), **facts: Fact) -> int:
    """Append one event and stamp the rows in `on` with its number, which is returned.

    Runs last in the caller's transaction: it takes the one lock that all recorded transactions queue
    on, so nothing may be locked after it. `facts` are ids, counts and codes; never names, e-mails or
    text that a person wrote, so that a person can be erased and the chain stays whole.
    Raises TransactionManagementError outside a transaction.
    """
    with _recording() as cursor:
        cursor.execute(_APPEND, _arguments(Event(verb, facts, tuple(on)), by))
        (seq,) = cursor.fetchone()
    return int(seq)


def record_all(events: Sequence[Event], *, by: Subject | str) -> None:
    """Append several events with one round trip; the caller has locked all of their rows."""
    if not events:
        return
    with _recording() as cursor:
        if any(event.on for event in events):
            cursor.executemany(_APPEND, [_arguments(event, by) for event in events])
        else:
            verbs = [event.verb.value for event in events]
            cursor.execute(_APPEND_ALL, [verbs, actor_of(by), [canonical(event.facts) for event in events]])


def _recording() -> CursorWrapper:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "record() must run in the transaction of the action that it records"
        )
    return connection.cursor()


def _arguments(event: Event, by: Subject | str) -> list[Any]:
    stamped: dict[str, set[int]] = {name: set() for name in STAMPED}
    for row in event.on:
        name = row._meta.model_name  # noqa: SLF001 (documented)
        if name in stamped:
            stamped[name].add(row.pk)
    touched = {name: sorted(ids) for name, ids in stamped.items()}
    payload = canonical({**event.facts, **{f"{name}s": ids for name, ids in touched.items() if ids}})
    return [event.verb.value, actor_of(by), payload, *touched.values()]


def actor_of(by: Subject | str) -> str:
    """Return the actor as the record names it: S-3 for a subject, a word for a process of Stint."""
    return by.ref if isinstance(by, Subject) else by


def canonical(facts: Mapping[str, Fact]) -> bytes:
    """Return the bytes that are hashed and stored: JSON with sorted keys and without blanks, in UTF-8."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def link(prev: bytes, seq: int, at: datetime, verb: str, actor: str, payload: bytes) -> bytes:
    """Return the hash of an event that follows the one with hash `prev`, as audit_append() computes it in SQL."""
    return digest_of(prev, seq, (at - EPOCH) // timedelta(microseconds=1), verb.encode(), actor.encode(), payload)


def digest_of(prev: bytes, seq: int, micros: int, verb: bytes, actor: bytes, payload: bytes) -> bytes:
    """Return the hash of an event given as numbers and bytes. Raises struct.error for an impossible time."""
    head, length = _HEAD.pack(seq, micros, len(verb)), _LENGTH.pack(len(actor))
    return hashlib.sha256(b"".join((prev, head, verb, length, actor, payload))).digest()


def mark_restored(facts: Mapping[str, Fact], *, seq: int) -> bytes:
    """Append the event of a restored backup, with a number above all lost ones; return its hash.

    Only the owner of the tables may do this. Later events stamp the rows that the restore changes.
    """
    with _recording() as cursor:
        cursor.execute("SELECT audit_restored(%s, %s)", [seq, canonical(facts)])
        cursor.execute("SELECT hash FROM grants_audithead")
        (digest,) = cursor.fetchone()
    return bytes(digest)
