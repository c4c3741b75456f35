"""Send mail for events of the record, read from a cursor, so that a lost message of the broker loses no mail.

A mail links to a page; opening it decides nothing. Each mail is sent at least once: after a crash between sending and
moving the cursor, the mails of one event are sent again with the same Message-ID.
"""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Subject
from grants import due
from grants.audit import Mail, Verb
from grants.audit.models import AuditEvent, AuditHead
from grants.lifecycle import decide, stages
from grants.lifecycle.models import Grant, Request
from grants.notifications.models import Cursor

log = structlog.get_logger(__name__)

TELLS = [verb for verb in Verb if verb.mail is not Mail.NOBODY]

_UNREAD = "(SELECT seq FROM grants_audithead) > (SELECT seq FROM grants_cursor WHERE name = 'mail')"


@due.job("mail", has_work=_UNREAD)
def _send_due(_which: str) -> timedelta:
    send_pending()
    return timedelta(0)


def send_pending() -> int:
    """Send the mails of all events after the cursor; return how many.

    Raises OSError (as smtplib's errors are) when the server does not accept a mail; the cursor then stays.
    """
    sent = 0
    while (count := _next()) is not None:
        sent += count
    return sent


def _next() -> int | None:
    """Send one event's mails and move the cursor, in one transaction; None when none is left or another one sends."""
    with transaction.atomic():
        cursor = Cursor.objects.select_for_update(skip_locked=True).filter(name="mail").first()
        if cursor is None:
            return None
        head = AuditHead.objects.get().seq
        unread = AuditEvent.objects.filter(seq__gt=cursor.seq, seq__lte=head, verb__in=TELLS).order_by("seq")
        event = unread.first()
        if event is None:
            Cursor.objects.filter(pk="mail").update(seq=head, error="")
            return None
        try:
            count = sum(_send(message) for message in messages(event))
        except OSError as error:
            failure = error
        else:
            Cursor.objects.filter(pk="mail").update(seq=event.seq, error="")
            return count
    Cursor.objects.filter(pk="mail").update(error=f"{type(failure).__name__}: {failure}"[:500])
    raise failure


def _send(message: EmailMessage) -> int:
    try:
        return message.send()
    except smtplib.SMTPRecipientsRefused as error:
        # One address that does not exist must not hold back the mail of other people.
        log.warning("mail_refused", message_id=message.extra_headers["Message-ID"], error=str(error.args))
        return 0


def messages(event: AuditEvent) -> Iterator[EmailMessage]:
    """The mails for an event, by the present state of its request or grant."""
    facts: dict[str, Any] = json.loads(bytes(event.payload))
    to = Verb(event.verb).mail
    if to is Mail.HOLDER:
        related = ("resource__connection", "beneficiary", "request__requester")
        grant = Grant.objects.select_related(*related).get(pk=facts["grant"])
        machine = grant.beneficiary.kind == Subject.Kind.SERVICE  # a machine reads no mail, so its requester gets it
        person = grant.request.requester if machine else grant.beneficiary
        yield from _to(person, "ended", event, f"/grants/{grant.pk}", grant=grant)
        return
    request = (
        Request.objects.select_related("requester", "beneficiary")
        .prefetch_related("items__resource__connection")
        .get(pk=facts["request"])
    )
    where = f"/requests/{request.pk}"
    if to is Mail.REQUESTER:
        last = request.decisions.filter(superseded=False).select_related("approver").order_by("-pk").first()
        grants = list(request.grants.select_related("resource__connection").order_by("pk"))
        yield from _to(request.requester, "decided", event, where, request=request, decision=last, grants=grants)
        return
    view = stages.current(decide.stages_of(request)) if request.state == Request.State.PENDING else None
    told = event.verb == Verb.REQUEST_VOTED and view is not None and view.number == facts["stage"]
    if view is None or told:
        return  # decided meanwhile, or the approvers of this stage were told before
    for approver in view.approvers:
        yield from _to(approver, "asked", event, where, request=request, stage=view)


def _to(person: Subject, template: str, event: AuditEvent, where: str, **context: object) -> Iterator[EmailMessage]:
    if not (person.active and person.email):
        return
    with timezone.override(ZoneInfo(person.time_zone or settings.ENV.time_zone)):
        text = render_to_string(
            f"mail/{template}.txt",
            {**context, "person": person, "now": event.at, "url": f"{settings.ENV.public_url}{where}"},
        )
    subject, _, body = text.strip().partition("\n")
    yield EmailMessage(
        subject=" ".join(subject.removeprefix("Subject:").split()),
        body=body.strip() + "\n",
        to=[person.email],
        headers={
            "Message-ID": f"<stint-{event.seq}-{person.pk}@{settings.ENV.host}>",
            "Auto-Submitted": "auto-generated",
        },
    )
