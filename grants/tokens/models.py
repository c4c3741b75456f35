"""Credentials, their delivery and their usage. Migration 0008 has the keys and triggers that enforce this."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, override

from django.conf import settings
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact, LessThanOrEqual

from grants.catalog.models import Connection
from grants.lifecycle.models import Grant
from grants.references import ref

TICKET_LASTS = timedelta(seconds=30)
SESSION_LASTS = timedelta(hours=12)  # at most; a session of the portal lasts no longer either


def _digest_has_32_bytes(column: str) -> Exact:
    length = Func(F(column), function="octet_length", output_field=models.IntegerField())
    return Exact(length, 32)


def _lasts(longest: timedelta) -> LessThanOrEqual:
    return LessThanOrEqual(F("expires_at") - F("issued_at"), longest)


class Credential(models.Model):
    """A token, a browser's session at the gate, or a ticket; stored as a digest.

    A token belongs to one grant. A session carries all grants of its subject. A ticket becomes a session. The end of a
    credential is derived from its own times and those of its grant; only a revocation is written.
    """

    class Kind(models.TextChoices):
        TOKEN = "token", "service token"
        GATE_SESSION = "gate_session", "browser session"
        TICKET = "ticket", "ticket"

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField(choices=Kind)
    key_id = models.TextField(unique=True)  # the part that may be shown
    digest = models.BinaryField(unique=True)
    subject = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="credentials", db_index=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    grant = models.ForeignKey(Grant, models.PROTECT, null=True, related_name="credentials", db_constraint=False)
    grant_until = models.DateTimeField(null=True)  # the grant's drain_until, which never moves
    issued_at = models.DateTimeField()
    # The person to whom it was shown; NULL when a process of ours made it for a machine.
    issued_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_index=False)
    expires_at = models.DateTimeField()
    nonce_digest = models.BinaryField(null=True)  # tickets: of the cookie that has to come with the ticket
    session_until = models.DateTimeField(null=True)  # tickets: the end of the session that it becomes
    used_at = models.DateTimeField(null=True)  # tickets
    revoked_at = models.DateTimeField(null=True)
    version = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind="token", grant__isnull=False) | Q(kind__in=["gate_session", "ticket"], grant=None),
                name="credential_token_has_a_grant",
            ),
            models.CheckConstraint(condition=Q(key_id__regex=r"^[0-9A-Za-z]{16}$"), name="credential_key_id"),
            models.CheckConstraint(condition=Q(_digest_has_32_bytes("digest")), name="credential_digest"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("issued_at")), name="credential_window"),
            models.CheckConstraint(
                condition=Q(grant_until=None) | Q(expires_at__lte=F("grant_until")), name="credential_within_its_grant"
            ),
            models.CheckConstraint(
                condition=~Q(kind="gate_session") | Q(_lasts(SESSION_LASTS)),
                name="credential_session_lasts",
            ),
            models.CheckConstraint(
                condition=Q(
                    _lasts(TICKET_LASTS),
                    _digest_has_32_bytes("nonce_digest"),
                    kind="ticket",
                    nonce_digest__isnull=False,
                    session_until__isnull=False,
                )
                | (~Q(kind="ticket") & Q(nonce_digest=None, session_until=None, used_at=None)),
                name="credential_ticket",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["version"], name="credential_version"),
            models.Index(fields=["expires_at"], name="credential_expires"),
            models.Index(fields=["subject", "kind"], condition=Q(revoked_at=None), name="credential_by_subject"),
        ]

    @override
    def __str__(self) -> str:
        return self.key_id

    @property
    def ended_at(self) -> datetime:
        """The end: by revocation, by its own time, or with its grant (select the grant with the row)."""
        ends = [self.expires_at, *([self.revoked_at] if self.revoked_at else [])]
        return min([*ends, *([self.grant.drained_at] if self.grant else [])])

    def is_over_at(self, now: datetime) -> bool:
        """Is it over, by itself or with its grant?"""
        return now >= self.ended_at


class Delivery(models.Model):
    """That the tokens of a service identity are delivered to it: in which way, and what came of the last attempt.

    The due row `token:<subject>` says when the next attempt is.
    """

    class Kind(models.TextChoices):
        FILES = "files", "files"

    class State(models.TextChoices):
        WAITING = "waiting", "not delivered yet"
        DELIVERED = "delivered", "delivered"
        FAILING = "failing", "failing"

    subject = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, primary_key=True, db_constraint=False, related_name="+"
    )
    kind = models.TextField(choices=Kind)
    delivered_at = models.DateTimeField(null=True)  # of the last attempt that succeeded
    error = models.TextField(blank=True, default="", db_default="")  # of the last attempt; empty if that succeeded

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(kind__in=["files"]), name="delivery_kind_known")]

    @override
    def __str__(self) -> str:
        return f"{self.kind} to {ref('subject', self.pk)}"

    @property
    def state(self) -> State:
        if self.error:
            return self.State.FAILING
        return self.State.DELIVERED if self.delivered_at else self.State.WAITING


class GateUsage(models.Model):
    """How often calls with a credential were let through or refused on a route, by minute. Only the gate writes it."""

    pk = models.CompositePrimaryKey("minute", "gate", "credential", "route", "code")
    minute = models.DateTimeField()
    gate = models.TextField()  # the gate that counted
    credential = models.ForeignKey(Credential, models.PROTECT, related_name="usage", db_index=False)
    route = models.TextField()  # "POST /api/deployments/{id}/create_flow_run"
    code = models.TextField()  # "ok", or why it was refused (grants.gate.decision.types.Code)
    n = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(n__gt=0), name="usage_counts_something"),
        ]
        indexes: ClassVar = [models.Index(fields=["credential", "minute"], name="usage_by_credential")]
