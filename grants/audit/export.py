"""Sign the head of the record and write it to a file that the database's owner cannot change.

The file proves that the end of the record was cut off or that the chain was rewritten, and reveals a database that was
restored from a backup.
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
    """The database does not continue the exported heads; `.args[0]` is a sentence for people."""


def head_key() -> Ed25519PrivateKey:
    """Return the key that signs heads, from STINT_AUDIT_KEY_FILE. Raises HeadKeyError."""
    path: Path = settings.ENV.audit_key_file
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise HeadKeyError(f"{path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HeadKeyError(f"{path} is not an Ed25519 key")
    return key


def make_key(path: Path) -> None:
    """Make a new key that only its owner can read. Raises FileExistsError: a key is never overwritten."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def export_head() -> int:
    """Append the signed head to STINT_AUDIT_HEADS_FILE, also without new events; return its number.

    Raises HeadKeyError, OSError, and RecordBehind, because a line that contradicts another one must not be signed.
    """
    key = head_key()
    if trouble := behind():
        raise RecordBehind(trouble)
    head, at = AuditHead.objects.get(), clock.now()
    heads.append(settings.ENV.audit_heads_file, heads.signed_line(head.seq, bytes(head.hash), at, key), at)
    return head.seq


def export_restore(seq: int, digest: bytes, *, after: int) -> None:
    """Append a signed line that declares the heads between events `after` and `seq` lost that the record lacks.

    Raises HeadKeyError, OSError.
    """
    at = clock.now()
    heads.append(settings.ENV.audit_heads_file, heads.signed_line(seq, digest, at, head_key(), after=after), at)


def last_exported() -> ExportedHead | None:
    """Return the newest exported head that our key signed; None without one. Raises HeadKeyError, OSError."""
    path: Path = settings.ENV.audit_heads_file
    return heads.last(path, head_key().public_key()) if heads.files(path) else None


def behind() -> str:
    """Say in a sentence why the database does not continue the exported heads; "" when it does.

    After a declared restore it does. Raises HeadKeyError, OSError.
    """
    last = last_exported()  # read before the database, so that a head exported meanwhile does not look missing
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
