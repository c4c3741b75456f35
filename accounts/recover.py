"""When no admin can sign in: a code, made on the server, makes whoever types it an admin. Once, soon, on record."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction

from accounts.clock import StintNow, now
from accounts.models import PortalRole, RecoveryCode, Subject
from accounts.signals import happened

MINUTES = 10
TRIES = 5  # wrong ones, in MINUTES
# Without letters and digits that look alike: it is read from one screen and typed into another.
_SIGNS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_LENGTH = 20  # 99 bits


class NotRecovered(Exception):
    """The code did nothing; `.args[0]` says why, for the person who typed it."""


def make_code() -> str:
    """A new code, to be typed within MINUTES; only its digest is kept."""
    code = "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
    with transaction.atomic():
        row = RecoveryCode.objects.create(digest=_digest(code), expires_at=now() + timedelta(minutes=MINUTES))
        happened.send(sender=RecoveryCode, verb="recovery.made", by="cli", subjects=[], facts={"code": row.pk})
    return "-".join(code[start : start + 5] for start in range(0, _LENGTH, 5))


def use_code(typed: str, *, by: Subject) -> None:
    """Make `by` an admin. Raises NotRecovered: unknown, used or too late, which are told alike."""
    digest = _digest("".join(sign for sign in typed.upper() if sign.isalnum()))
    with transaction.atomic():
        # Locked first: an UPDATE that waited for a mere lock does not look at the clock again.
        row = RecoveryCode.objects.select_for_update(no_key=True, of=("self",)).filter(digest=digest).first()
        used = row and RecoveryCode.objects.filter(pk=row.pk, used_at=None, expires_at__gt=StintNow()).update(
            used_at=StintNow(), used_by=by
        )
        if not row or not used:
            raise NotRecovered(f"That is no code that works. A code lives {MINUTES} minutes and works once.")
        PortalRole.objects.get_or_create(subject=by, role=PortalRole.Role.ADMIN, source=PortalRole.Source.RECOVERY)
        happened.send(
            sender=RecoveryCode,
            verb="recovery.used",
            by=by,
            subjects=[],
            facts={"code": row.pk, "subject": by.pk},
        )


def _digest(code: str) -> bytes:
    return hashlib.sha256(b"stint-recovery:" + code.encode()).digest()
