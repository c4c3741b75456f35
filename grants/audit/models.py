from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self, override

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func


class AuditHead(models.Model):
    """The one row on which all recorded transactions queue. Only audit_append() writes it."""

    id = models.SmallIntegerField(primary_key=True)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    # xact is the transaction that wrote the head, base the seq before it: how the stamp triggers
    # know that a row's version was set by the transaction that changed the row.
    xact = models.BigIntegerField()
    base = models.BigIntegerField()


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def about(self, things: Iterable[tuple[str, int]]) -> Self:
        """Return the events that name one of these things, such as ("request", 17), or were made by one; uses an index.

        Kinds are request, grant, subject, resource, connection and policy.
        """
        named = Func(F("actor"), F("payload"), function="audit_about", output_field=ArrayField(models.TextField()))
        return self.alias(named=named).filter(named__overlap=[f"{kind}-{pk}" for kind, pk in things])


class AuditEvent(models.Model):
    """One event of the chain. The payload holds ids and digests, never names, mail or free text."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    verb = models.TextField()
    actor = models.TextField()
    payload = models.BinaryField()
    prev = models.BinaryField()
    hash = models.BinaryField()

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ("seq",)
        # Migration 0022 makes another one on audit_about(), because that function is SQL.
        indexes: ClassVar = [
            models.Index(fields=["actor", "-seq"], name="auditevent_actor"),
            models.Index(fields=["verb", "-seq"], name="auditevent_verb"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.seq} {self.verb}"
