"""The head of the record, signed and written where the database's owner cannot reach.

One JSON object a line: {"at", "seq", "hash", "key", "signature"}; the signature (Ed25519, base64) is over
"stint-head:<seq>:<hash>:<at>". Whoever keeps the file can prove a cut tail or a rewritten chain.
"""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from grants import clock
from grants.audit.models import AuditHead


class HeadKeyError(Exception):
    """The key is missing or not an Ed25519 private key; `.args[0]` says which file."""


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

    Raises HeadKeyError, OSError.
    """
    key = head_key()
    head = AuditHead.objects.get()
    at = clock.now()
    line = {
        "at": at.isoformat(),
        "seq": head.seq,
        "hash": bytes(head.hash).hex(),
        "key": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
    }
    line["signature"] = base64.b64encode(key.sign(_signed(line["seq"], line["hash"], line["at"]))).decode()
    data = (json.dumps(line) + "\n").encode()
    # One write of one line in append mode: two workers at once cannot mix theirs.
    fd = os.open(settings.ENV.audit_heads_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    return head.seq


def exported() -> dict[int, bytes]:
    """Number → hash of every exported head whose signature is ours; others prove nothing and are left out."""
    return {seq: digest for seq, digest, _ in _lines()}


def last_exported() -> tuple[int, datetime] | None:
    """Number and time of the newest exported head, for the status page."""
    lines = _lines()
    return (lines[-1][0], lines[-1][2]) if lines else None


def _lines() -> list[tuple[int, bytes, datetime]]:
    path: Path = settings.ENV.audit_heads_file
    if not path.exists():
        return []
    public = head_key().public_key()
    good = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(raw)
            seq, digest, at = int(line["seq"]), str(line["hash"]), str(line["at"])
            public.verify(base64.b64decode(line["signature"]), _signed(seq, digest, at))
            good.append((seq, bytes.fromhex(digest), datetime.fromisoformat(at)))
        except (ValueError, KeyError, TypeError, InvalidSignature):
            continue  # torn by a crash, or not signed by us
    return good


def _signed(seq: object, digest: object, at: object) -> bytes:
    return f"stint-head:{seq}:{digest}:{at}".encode()
