"""Let a browser of the portal into the gate: a ticket becomes a session there, which ends when the person signs out.

The browser carries the ticket from one host to the other, once, within seconds. The ticket is only valid together with
the nonce in the cookie that the gate has set before. `gate_redeem()` in migration 0009 is the gate's side of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.errors import NotAllowed
from accounts.models import Subject
from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Connection
from grants.tokens.mint import mint
from grants.tokens.models import SESSION_LASTS, TICKET_LASTS, Credential
from grants.tokens.sentences import Says

Kind = Credential.Kind


def hand_over(subject: Subject, connection: Connection, nonce_digest: bytes, *, until: datetime | None = None) -> str:
    """Make a ticket for this person's browser, valid for seconds. `until` is the end of the portal's session.

    Raises NotAllowed for a machine, a person who is switched off, a connection without a host, a session that is over.
    """
    if not subject.active or subject.kind != Subject.Kind.PERSON:
        raise NotAllowed(Says.PEOPLE_ONLY)
    if not connection.host:
        raise NotAllowed(Says.NO_GATE, connection=connection.slug)
    with transaction.atomic():
        now = clock.now()
        over = min(until or now + SESSION_LASTS, now + timedelta(seconds=settings.SESSION_COOKIE_AGE))
        if over <= now:
            raise NotAllowed(Says.SESSION_OVER)
        minted = mint(Kind.TICKET)
        ticket = Credential.objects.create(
            kind=Kind.TICKET,
            key_id=minted.key_id,
            digest=minted.digest,
            subject=subject,
            connection=connection,
            issued_at=now,
            issued_by=subject,
            expires_at=now + TICKET_LASTS,
            nonce_digest=nonce_digest,
            session_until=over,
        )
        record(Verb.TICKET_MADE, by=subject, on=[ticket], connection=connection.pk, subject=subject.pk)
    return minted.token


def end_sessions(*subjects: Subject) -> list[Credential]:
    """Revoke these people's tickets and sessions at the gate, in the caller's transaction, which records the rows.

    Tickets are revoked first: a gate that is redeeming a ticket holds its row, so the new session is seen afterwards.
    """
    now = clock.now()
    ended: list[Credential] = []
    for kind in (Kind.TICKET, Kind.GATE_SESSION):
        mine = Credential.objects.filter(
            subject__in=subjects, kind=kind, revoked_at=None, used_at=None, expires_at__gt=now
        )
        locked = list(mine.order_by("pk").select_for_update(no_key=True, of=("self",)))
        Credential.objects.filter(pk__in=[one.pk for one in locked]).update(revoked_at=now)
        ended += locked
    return ended


def end_sessions_of(*, subjects: Sequence[Subject], **_: Any) -> list[Credential]:
    """Receive accounts.signals.session_ending and coming_back; the caller records the rows."""
    return end_sessions(*subjects)
