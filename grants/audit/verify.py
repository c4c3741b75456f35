"""Verify the record: walk the chain from the first event, then compare it with every exported head.

A walk can be interrupted and continued with a Walk, a small value. A new one always begins at the first event and
relies on no result of an earlier one.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.db import connection
from psycopg import Cursor
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from grants.audit import export, heads
from grants.audit.chain import EPOCH, GENESIS, digest_of
from grants.audit.heads import ExportedHead
from grants.audit.models import AuditEvent, AuditHead
from grants.audit.verbs import Verb

PAGE = 20_000
COMPARE = 5_000  # heads in one query
_RESTORED = Verb.RECORD_RESTORED.value.encode()
_MILLENNIUM = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL counts microseconds from here, the chain from 1970
_SHIFT = (_MILLENNIUM - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    whole: bool
    count: int  # intact events, from the first on
    broken_seq: int | None
    why: str  # a sentence for people
    notes: tuple[str, ...] = ()  # declared restores, to be shown although the record is intact


class Restore(NamedTuple):
    """An event that declares a restored backup."""

    kept: int  # the event before it in the chain
    after: int  # the newest event that is certainly the same as before the restore
    seq: int
    day: str
    lost: int  # the newest exported event; lost, unless it is in the chain


class Walk(NamedTuple):
    """The progress of a verification. Everything up to event `seq` is as it was recorded."""

    seq: int = 0
    digest: bytes = GENESIS
    good: int = 0
    restores: tuple[Restore, ...] = ()

    def as_json(self) -> list[Any]:
        """Return the progress in a form to continue from; store it where nobody can change it."""
        return [self.seq, self.digest.hex(), self.good, [list(restore) for restore in self.restores]]

    @classmethod
    def of_json(cls, told: list[Any]) -> Walk:
        seq, digest, good, restores = told
        return cls(seq, bytes.fromhex(digest), good, tuple(Restore(*restore) for restore in restores))


class _Broken(Exception):
    def __init__(self, seq: int, why: str) -> None:
        self.seq, self.why = seq, why


def verify(told: Callable[[Walk, int], None] = lambda _walk, _of: None) -> Verdict:
    """Check every event's number, link and hash, the head, and every exported head.

    `told` is called with the progress and the number of events. Raises HeadKeyError, OSError.
    """
    walk: Walk | Verdict = Walk()
    while isinstance(walk, Walk):
        walk, of = go_on(walk, seconds=1.0)
        if isinstance(walk, Walk):
            told(walk, of)
    return walk


def go_on(walk: Walk, *, seconds: float) -> tuple[Walk | Verdict, int]:
    """Continue for about this long; return the progress or the verdict, and the number of the last event."""
    head = AuditHead.objects.get()  # read before the walk; events appended meanwhile only lengthen the chain
    until = time.monotonic() + seconds
    try:
        # A query per page: one long snapshot would keep dead versions of the head from being vacuumed.
        while rows := _page(walk.seq):
            walk = _walked(walk, rows, head)
            if len(rows) == PAGE and time.monotonic() > until:
                return walk, head.seq
        notes = _compared(walk, head)
    except _Broken as broken:
        return Verdict(False, walk.good, broken.seq, broken.why), head.seq
    why = f"All {walk.good} events are as they were recorded."
    return Verdict(True, walk.good, None, why, notes), head.seq


# Stored columns and no function, because the database's owner could replace a function by another one.
_PAGE = """
SELECT seq, at, verb, actor, payload, prev, hash FROM grants_auditevent WHERE seq > %s ORDER BY seq LIMIT %s
"""


def _page(after: int) -> list[tuple[Any, ...]]:
    """The events after this number. A page begins where the last one ended, so a row inserted meanwhile is seen."""
    connection.ensure_connection()
    # Django's own cursor would convert each value to text. Here texts arrive as bytes and times as stored numbers:
    # converting a million of them and back to bytes takes longer than all the hashing.
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.adapters.register_loader("text", ByteaBinaryLoader)
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        return cursor.execute(_PAGE, [after, PAGE], binary=True).fetchall()


def _walked(walk: Walk, rows: Iterable[tuple[Any, ...]], head: AuditHead) -> Walk:
    """Raises _Broken at the first event that is not as it was recorded."""
    last, before, count, restores = walk.seq, walk.digest, walk.good, walk.restores
    last_hash = bytes(head.hash)
    for seq, at, verb, actor, payload, prev, stored in rows:
        if seq != last + 1:
            if verb != _RESTORED or (restore := _restore(payload, seq, at)) is None or restore.kept != last:
                raise _Broken(last + 1, f"Event {last + 1} is missing.")
            restores = (*(one for one in restores if one.seq <= last), restore)
        if prev != before:
            raise _Broken(seq, f"Event {seq} does not follow from the one before it.")
        try:
            digest = digest_of(before, seq, at + _SHIFT, verb, actor, payload)
        except (struct.error, TypeError):  # an infinite time, or NULL where a value is required
            digest = None
        if digest != stored or digest is None:
            raise _Broken(seq, f"Event {seq} was changed after it was recorded.")
        if seq == head.seq and last_hash != digest:
            raise _Broken(seq, f"Event {seq} is not what the head of the record says.")
        last, before, count = seq, digest, count + 1
    return Walk(last, before, count, restores)


def _restore(payload: bytes, seq: int, at: int) -> Restore | None:
    try:
        facts, day = json.loads(payload), _MILLENNIUM + timedelta(microseconds=at)
        return Restore(int(facts["kept"]), int(facts["after"]), seq, f"{day:%Y-%m-%d}", int(facts["lost"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _compared(walk: Walk, head: AuditHead) -> tuple[str, ...]:
    """Compare every exported head with the chain; return the notes. Raises _Broken.

    Only the signature of a head that contradicts the chain is checked: a forged head that agrees does no harm.
    """
    if walk.seq < head.seq:
        raise _Broken(walk.seq + 1, _gone(walk.seq + 1, head.seq))
    if not heads.files(settings.ENV.audit_heads_file):
        return tuple(_note(restore, 0, signed=False) for restore in walk.restores)
    key = export.head_key().public_key()
    lost: dict[Restore, int] = {}
    signed: set[tuple[int, int]] = set()
    for exported in _contradicting(key, signed):
        seq = exported.seq
        restore = next((one for one in walk.restores if one.after < seq < one.seq), None)
        if restore is None and seq > walk.seq:
            raise _Broken(walk.seq + 1, _gone(walk.seq + 1, seq))
        if restore is None:
            raise _Broken(seq, f"Event {seq} is not the one whose head was exported.")
        lost[restore] = max(lost.get(restore, 0), seq)
    for restore, seq in lost.items():
        if (restore.after, restore.seq) not in signed:
            raise _Broken(restore.after + 1, _gone(restore.after + 1, seq))
    return tuple(
        _note(restore, lost.get(restore, 0), signed=(restore.after, restore.seq) in signed) for restore in walk.restores
    )


def _contradicting(key: Ed25519PublicKey, signed: set[tuple[int, int]]) -> Iterator[ExportedHead]:
    """Our heads that are not in the chain; adds the restores that we signed to `signed`."""
    for some in batched(heads.read(settings.ENV.audit_heads_file), COMPARE):
        for head, agrees in _with_chain(some):
            if head.after is not None and head.is_ours(key):
                signed.add((head.after, head.seq))
            if not agrees and head.is_ours(key):
                yield head


def _with_chain(some: Iterable[ExportedHead]) -> Iterator[tuple[ExportedHead, bool]]:
    """Heads, and whether each is in the chain."""
    some = tuple(some)
    found = dict(AuditEvent.objects.filter(pk__in={head.seq for head in some}).values_list("seq", "hash"))
    for head in some:
        digest = GENESIS if head.seq == 0 else found.get(head.seq)
        yield head, digest is not None and bytes(digest) == head.hash


def _gone(first: int, last: int) -> str:
    return f"Events {first} to {last} were recorded and are gone."


def newest_kept() -> int:
    """Return the number of the newest exported head in the chain: a restored backup has its events up to there."""
    kept = 0
    for some in batched(heads.read(settings.ENV.audit_heads_file), COMPARE):
        kept = max([kept, *(head.seq for head, agrees in _with_chain(some) if agrees)])
    return kept


def _note(restore: Restore, lost: int, *, signed: bool) -> str:
    what = f"what was recorded up to event {lost} is lost, from somewhere after event {restore.after}"
    by = "" if signed else "No exported head confirms it."
    said = f"A backup was restored and declared on {restore.day}, by event {restore.seq}"
    return " ".join(filter(None, [f"{said}: {what if lost else 'nothing that was exported is lost'}.", by]))
