"""The head of the record, signed and written where the database's owner cannot reach.

Whoever keeps the file can prove a cut tail or a rewritten chain; and a database that was restored from a backup is
noticed by it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from django.conf import settings

from grants import clock, due
from grants.audit import heads
from grants.audit.heads import ExportedHead
from grants.audit.models import AuditEvent, AuditHead
from grants.audit.verbs import Verb


class HeadKeyError(Exception):
    """The key is missing or not an Ed25519 private key; `.args[0]` says which file."""


class RecordBehind(Exception):
    """The database does not continue what was exported; `.args[0]` is a sentence for people."""


def head_key() -> Ed25519PrivateKey:
    """The key that signs heads, from STINT_AUDIT_KEY_FILE. Raises HeadKeyError."""
    path: Path = settings.ENV.audit_key_file
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise HeadKeyError(f"{path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HeadKeyError(f"{path} is not an Ed25519 key")
    return key


def make_key(path: Path) -> None:
    """A new key, readable by its owner alone. Raises FileExistsError: a key is never overwritten."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def export_head() -> int:
    """Append the signed head to STINT_AUDIT_HEADS_FILE, also when nothing is new; returns its number.

    Raises HeadKeyError, OSError, and RecordBehind: no line is signed that another one contradicts.
    """
    key = head_key()
    if trouble := behind():
        raise RecordBehind(trouble)
    head, at = AuditHead.objects.get(), clock.now()
    heads.append(settings.ENV.audit_heads_file, heads.line(head.seq, bytes(head.hash), at, key), at)
    return head.seq


def declare(seq: int, digest: bytes, *, after: int) -> None:
    """Write down, signed, that the heads between events `after` and `seq` which the record does not have are lost.

    Raises HeadKeyError, OSError.
    """
    at = clock.now()
    heads.append(settings.ENV.audit_heads_file, heads.line(seq, digest, at, head_key(), after=after), at)


def last_exported() -> ExportedHead | None:
    """The newest head that was exported and that we signed; None before the first. Raises HeadKeyError, OSError."""
    path: Path = settings.ENV.audit_heads_file
    return heads.last(path, head_key().public_key()) if heads.files(path) else None


def behind() -> str:
    """Why the database is not the one whose heads were exported, in a sentence; "" when it continues them.

    A declared restore continues them. Raises HeadKeyError, OSError.
    """
    last = last_exported()  # before the database, which then cannot be behind it for being late
    if last is None or last.seq == 0:
        return ""
    found = AuditEvent.objects.filter(pk=last.seq).values_list("hash", flat=True).first()
    if found is not None and bytes(found) == last.hash:
        return ""
    if AuditEvent.objects.filter(verb=Verb.RECORD_RESTORED, pk__gt=last.seq).exists():
        return ""
    return (
        f"The record, at event {AuditHead.objects.get().seq}, does not continue event {last.seq}, which was exported."
        " If a backup was restored, declare it by manage.py after_restore."
    )


@due.job("heads", in_place=True)
def _export_due(_which: str) -> timedelta:
    export_head()
    return timedelta(minutes=1)
