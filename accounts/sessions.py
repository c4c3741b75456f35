"""The end of a person's session in the portal, and of what was opened with it elsewhere: one event."""

from __future__ import annotations

from django.db import transaction

from accounts.models import Subject
from accounts.signals import changed_by, happened, session_ending


def end(subject: Subject) -> None:
    """Record that this person signed out, and whatever ends with that."""
    with transaction.atomic():
        ended = changed_by(session_ending, [subject])
        facts = {"subject": subject.pk}
        happened.send(sender=Subject, verb="subject.signed_out", by=subject, subjects=ended, facts=facts)
