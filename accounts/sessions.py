"""The end of a person's session in the portal, and of what was opened with it elsewhere: one event."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.models import Subject
from accounts.signals import happened, session_ending


def end(subject: Subject) -> None:
    """Record that this person signed out, and whatever ends with that."""
    with transaction.atomic():
        answers: list[tuple[Any, Any]] = session_ending.send(sender=Subject, subject=subject)
        ended = [row for _, rows in answers for row in rows]
        facts = {"subject": subject.pk}
        happened.send(sender=Subject, verb="subject.signed_out", by=subject, subjects=ended, facts=facts)
