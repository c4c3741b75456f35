"""The preferences of a person. They give no right and are private, so they are not in the record."""

from __future__ import annotations

from accounts.models import Subject


def choose_time_zone(subject: Subject, zone: str) -> None:
    """Show times in the IANA zone `zone` (checked by the caller), or, empty, in the browser's."""
    Subject.objects.filter(pk=subject.pk).update(time_zone=zone)
