"""The signals that accounts sends to the packages above it. Receivers run in the transaction and may abort it."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import Signal

# Sent with verb (str), by (Subject, a word for a process, or None), subjects (the rows that changed), facts (ids only).
happened = Signal()

# Sent with subjects before the end of their sessions is recorded. Receivers return the rows that they changed.
session_ending = Signal()

# Sent with subjects in the transaction that switches them on again, before that change. Receivers end what they
# had when they were switched off, even if no sweep has, and return the rows that they changed.
coming_back = Signal()


def changed_by(signal: Signal, subjects: Sequence[Any]) -> list[Any]:
    """Send a signal once for all subjects, because rows are locked in the order of their ids; return the changed rows.

    The receivers lock rows, so their order is part of the lock order (grants.wiring).
    """
    answers: list[tuple[Any, Any]] = signal.send(sender=None, subjects=subjects)
    return [row for _, rows in answers for row in rows]
