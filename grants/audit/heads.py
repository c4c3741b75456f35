"""The file of exported heads: one JSON object a line, signed, a file a month.

{"at", "seq", "hash", "key", "signature"}; the signature (Ed25519, base64) is over "stint-head:<seq>:<hash>:<at>".
A line with "after", too, says that a backup was restored: the heads between events `after` and `seq` that the record
does not have are lost. Its signature is over "stint-restored:<after>:<seq>:<hash>:<at>".
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TAIL = 16_384  # bytes; dozens of lines


class ExportedHead(NamedTuple):
    """A line as it was read. Only `is_ours` says whether it proves anything."""

    seq: int
    hash: bytes
    at: datetime
    after: int | None  # of a restore: the newest event that is surely the same as before it
    said: bytes  # what was signed
    signature: bytes

    def is_ours(self, key: Ed25519PublicKey) -> bool:
        try:
            key.verify(self.signature, self.said)
        except InvalidSignature:
            return False
        return True


def line(seq: int, digest: bytes, at: datetime, key: Ed25519PrivateKey, *, after: int | None = None) -> bytes:
    """A signed line, with its end."""
    told = {"at": at.isoformat(), "seq": seq, "hash": digest.hex()}
    if after is not None:
        told["after"] = after
    told["key"] = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    signed = key.sign(_signed(seq, told["hash"], told["at"], after))
    return json.dumps(told | {"signature": base64.b64encode(signed).decode()}).encode() + b"\n"


def append(path: Path, added: bytes, at: datetime) -> None:
    """Add a line, whole or not at all, beginning a new file with each month. Raises OSError.

    Two at once wait for each other. What a crash left of a line is closed off first: it spoils no other.
    """
    with _alone(path):
        if _month_of(path) not in (None, f"{at:%Y-%m}"):
            _begin_anew(path, added)
            return
        with _opened(path, os.O_APPEND) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                _write(file.fileno(), added if _ends_well(path, size) else b"\n" + added)
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise


def last(path: Path, key: Ed25519PublicKey) -> ExportedHead | None:
    """The newest head that this key has signed. Reads the ends of files, however long they are."""
    for one in reversed(files(path)):
        with one.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")
        for raw in reversed(lines):
            head = _read(raw)
            if head and head.is_ours(key):
                return head
    return None


def read(path: Path) -> Iterator[ExportedHead]:
    """Every line that can be read, oldest file first; whose they are is not looked at."""
    for one in files(path):
        with one.open("rb") as file:
            yield from filter(None, map(_read, file))


def files(path: Path) -> list[Path]:
    """Those of the months before, in order, and the one that is written."""
    before = sorted(path.parent.glob(f"{_escaped(path.stem)}-[0-9][0-9][0-9][0-9]-[0-9][0-9]{_escaped(path.suffix)}"))
    return [*before, path] if path.exists() else before


def _read(raw: bytes) -> ExportedHead | None:
    try:
        told = json.loads(raw)
        seq, digest, at = int(told["seq"]), str(told["hash"]), str(told["at"])
        after = int(told["after"]) if "after" in told else None
        signature = base64.b64decode(told["signature"])
        return ExportedHead(
            seq, bytes.fromhex(digest), datetime.fromisoformat(at), after, _signed(seq, digest, at, after), signature
        )
    except (ValueError, KeyError, TypeError):
        return None  # torn by a crash, or nothing of ours


def _signed(seq: object, digest: object, at: object, after: object) -> bytes:
    what = f"stint-head:{seq}" if after is None else f"stint-restored:{after}:{seq}"
    return f"{what}:{digest}:{at}".encode()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with _opened(path.with_name(f"{path.name}.lock"), os.O_APPEND) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the descriptor, and with whoever dies
        yield


def _begin_anew(path: Path, added: bytes) -> None:
    """At no moment is there no file, and none of these steps loses a line if it is the last."""
    beside = path.with_name(f"{path.name}.new")
    with _opened(beside, os.O_TRUNC) as file:
        _write(file.fileno(), added)
    kept = path.with_name(f"{path.stem}-{_month_of(path)}{path.suffix}")
    if not kept.exists():
        os.link(path, kept)
    elif not kept.samefile(path):  # a clock went back: both are this month's
        with _opened(kept, os.O_APPEND) as file:
            _write(file.fileno(), (b"" if _ends_well(kept, kept.stat().st_size) else b"\n") + path.read_bytes())
    beside.replace(path)


def _month_of(path: Path) -> str | None:
    """Of its first line, "2026-11"; None of a file that has none."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = next(filter(None, map(_read, file)), None)
    return f"{first.at:%Y-%m}" if first else None


def _ends_well(path: Path, size: int) -> bool:
    if size == 0:
        return True
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def _write(fd: int, data: bytes) -> None:
    """All of it, on the disk. Raises OSError: a full disk may take a part of it first."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    os.fsync(fd)


def _opened(path: Path, how: int) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600), "wb")


def _escaped(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)
