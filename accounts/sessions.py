"""The end of a person's session in the portal, and of what was opened with it elsewhere."""

from __future__ import annotations

from datetime import datetime

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import transaction

from accounts.clock import now
from accounts.models import Subject
from accounts.signals import changed_by, happened, session_ending


def ends_at(session: SessionBase) -> datetime:
    """Return the stored end of this session. Django's `get_expiry_date()` starts anew at each call."""
    kept = Session.objects.filter(session_key=session.session_key).values_list("expire_date", flat=True).first()
    return kept or now()  # the person signed out a moment ago


def forget_expired(*, limit: int) -> int:
    """Delete expired sessions, at most `limit`; return how many."""
    over = Session.objects.filter(expire_date__lt=now()).values("pk")[:limit]
    return Session.objects.filter(pk__in=over).delete()[0]


def end(subject: Subject) -> None:
    """Record in one event that this person signed out, and what ended with the session."""
    with transaction.atomic():
        ended = changed_by(session_ending, [subject])
        facts = {"subject": subject.pk}
        happened.send(sender=Subject, verb="subject.signed_out", by=subject, subjects=ended, facts=facts)
