"""Recovery when no admin can sign in: a code made on the server makes the person who types it an admin, once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

import structlog
from django.db import connection, transaction
from django.db.models import F, Q

from accounts.clock import StintNow, now
from accounts.errors import UserError
from accounts.models import PortalRole, RecoveryCode, RecoveryTries, Subject
from accounts.sentences import Says
from accounts.signals import happened

log = structlog.get_logger(__name__)

MINUTES = 10
TRIES = 5  # wrong codes of one person in an hour
TRIES_OF_ALL = 50
# Without letters and digits that look alike, because people read the code from one screen and type it into another.
_SIGNS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_LENGTH = 20  # 99 bits


class NotRecovered(UserError):
    """The code did nothing."""


class TooManyTries(NotRecovered):
    """No code works, not even the right one, until an hour after the first wrong code."""

    def __init__(self, seconds: int) -> None:
        minutes = -(-seconds // 60)
        again = "in a minute" if minutes == 1 else f"in {minutes} minutes"
        super().__init__(Says.CODE_TRIES, again=again)
        self.seconds = seconds


# A try is counted before the code is compared, so that only one of many simultaneous tries is the fifth. The row of all
# people is locked first and until the end, so all tries queue on it in one order.
_COUNT = """
INSERT INTO accounts_recoverytries AS t (subject_id, since, wrong)
VALUES (NULL, stint_now(), 1), (%s, stint_now(), 1)
ON CONFLICT (subject_id) DO UPDATE SET
    since = CASE WHEN t.since > stint_now() - interval '1 hour' THEN t.since ELSE stint_now() END,
    wrong = CASE WHEN t.since > stint_now() - interval '1 hour' THEN t.wrong + 1 ELSE 1 END
RETURNING subject_id IS NULL, wrong, ceil(extract(epoch FROM since + interval '1 hour' - stint_now()))::int
"""


def make_code() -> str:
    """Make a code that is valid for MINUTES; only its digest is stored."""
    code = "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
    with transaction.atomic():
        row = RecoveryCode.objects.create(digest=_digest(code), expires_at=now() + timedelta(minutes=MINUTES))
        happened.send(sender=RecoveryCode, verb="recovery.made", by="cli", subjects=[], facts={"code": row.pk})
    return "-".join(code[start : start + 5] for start in range(0, _LENGTH, 5))


def use_code(typed: str, *, by: Subject) -> None:
    """Make `by` an admin. Raises NotRecovered, alike for an unknown, a used and an expired code; TooManyTries."""
    digest = _digest("".join(sign for sign in typed.upper() if sign.isalnum()))
    with transaction.atomic():
        _count(by)
        # Locked first, because an UPDATE that waited for a lock does not read the clock again.
        row = RecoveryCode.objects.select_for_update(no_key=True, of=("self",)).filter(digest=digest).first()
        used = row and RecoveryCode.objects.filter(pk=row.pk, used_at=None, expires_at__gt=StintNow()).update(
            used_at=StintNow(), used_by=by
        )
        if row and used:
            RecoveryTries.objects.filter(Q(subject=by) | Q(subject=None)).update(
                wrong=F("wrong") - 1
            )  # the code was right
            PortalRole.objects.get_or_create(subject=by, role=PortalRole.Role.ADMIN, source=PortalRole.Source.RECOVERY)
            happened.send(
                sender=RecoveryCode,
                verb="recovery.used",
                by=by,
                subjects=[],
                facts={"code": row.pk, "subject": by.pk},
            )
    if not used:  # raised outside the transaction, so that a wrong try stays counted
        raise NotRecovered(Says.CODE_WRONG, minutes=MINUTES)


def _count(by: Subject) -> None:
    """Count a wrong code in advance; a right one is subtracted later. With TooManyTries the caller rolls back."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [by.pk])
        counted = cursor.fetchall()
    over = [seconds for of_all, wrong, seconds in counted if wrong > (TRIES_OF_ALL if of_all else TRIES)]
    if over:
        log.warning("recovery_refused", subject=by.ref, seconds=max(over))
        raise TooManyTries(max(over))


def _digest(code: str) -> bytes:
    return hashlib.sha256(b"stint-recovery:" + code.encode()).digest()
