"""Is the record whole? Walks the chain from the first event and names the first broken one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grants.audit import export
from grants.audit.chain import GENESIS, link
from grants.audit.models import AuditEvent, AuditHead

PAGE = 5000


@dataclass(frozen=True, slots=True)
class Verdict:
    whole: bool
    count: int  # events found good, from the first on
    broken_seq: int | None
    why: str  # a sentence for people


def verify() -> Verdict:
    """Check every event's number, link and hash, the head, and every head that was exported.

    Pages are read one query each: one long snapshot would keep the head's dead versions (facts/model.md §3).
    """
    heads = export.exported()
    head = AuditHead.objects.get()  # before the walk: what is appended meanwhile only lengthens the chain
    prev, count = GENESIS, 0
    for event in _events():
        expected = count + 1
        if event.seq != expected:
            return Verdict(False, count, expected, f"Event {expected} is missing.")
        if bytes(event.prev) != prev:
            return Verdict(False, count, event.seq, f"Event {event.seq} does not follow from the one before it.")
        digest = link(prev, event.seq, event.at, event.verb, event.actor, bytes(event.payload))
        if digest != bytes(event.hash):
            return Verdict(False, count, event.seq, f"Event {event.seq} was changed after it was recorded.")
        if heads.get(event.seq, digest) != digest:
            return Verdict(False, count, event.seq, f"Event {event.seq} is not the one whose head was exported.")
        if event.seq == head.seq and bytes(head.hash) != digest:
            return Verdict(False, count, event.seq, f"Event {event.seq} is not what the head of the record says.")
        prev, count = digest, event.seq
    told = max(head.seq, *heads, 0)
    if count < told:
        return Verdict(False, count, count + 1, f"Events {count + 1} to {told} were recorded and are gone.")
    return Verdict(True, count, None, f"All {count} events are as they were recorded.")


def _events() -> Iterator[AuditEvent]:
    """Every event, in order; a page's end is where the next begins, so a row inserted meanwhile is seen."""
    last = 0
    while page := list(AuditEvent.objects.filter(seq__gt=last).order_by("seq")[:PAGE]):
        yield from page
        last = page[-1].seq
