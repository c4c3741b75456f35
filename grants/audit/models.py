from __future__ import annotations

from typing import override

from django.db import models


class AuditHead(models.Model):
    """The one row that every recorded transaction queues on. Only audit_append() writes it."""

    id = models.SmallIntegerField(primary_key=True)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    # xact is the transaction that wrote the head, base the seq before it: how the stamp triggers
    # know that a row's version was set by the transaction that changed the row.
    xact = models.BigIntegerField()
    base = models.BigIntegerField()


class AuditEvent(models.Model):
    """One event of the chain. The payload holds ids and digests, never names, mail or free text."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    verb = models.TextField()
    actor = models.TextField()
    payload = models.BinaryField()
    prev = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        ordering = ("seq",)

    @override
    def __str__(self) -> str:
        return f"{self.seq} {self.verb}"
