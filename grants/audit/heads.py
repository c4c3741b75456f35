"""Read and write the files of exported heads: one signed JSON object per line, one file per month.

{"at", "seq", "hash", "key", "signature"}; the signature (Ed25519, base64) is of "stint-head:<seq>:<hash>:<at>". A line
that also has "after" declares a restored backup: the heads between events `after` and `seq` that the record lacks are
lost. Its signature is of "stint-restored:<after>:<seq>:<hash>:<at>".
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

TAIL = 16_384  # bytes that last() reads of a file; dozens of lines


class ExportedHead(NamedTuple):
    """A line of the file. It proves something only when is_ours() verifies its signature."""

    seq: int
    hash: bytes
    at: datetime
    after: int | None  # of a declared restore: the newest event that is certainly the same as before
    said: bytes  # the signed text
    signature: bytes

    def is_ours(self, key: Ed25519PublicKey) -> bool:
        try:
            key.verify(self.signature, self.said)
        except InvalidSignature:
            return False
        return True


def signed_line(seq: int, digest: bytes, at: datetime, key: Ed25519PrivateKey, *, after: int | None = None) -> bytes:
    """Return a signed line, with its newline."""
    told = {"at": at.isoformat(), "seq": seq, "hash": digest.hex()}
    if after is not None:
        told["after"] = after
    told["key"] = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    signed = key.sign(_signed(seq, told["hash"], told["at"], after))
    return json.dumps(told | {"signature": base64.b64encode(signed).decode()}).encode() + b"\n"


def append(path: Path, added: bytes, at: datetime) -> None:
    """Append a whole line or nothing, and begin a new file each month. Raises OSError.

    Simultaneous calls wait for each other. A partial line that a crash left is ended first, so it spoils no other.
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
    """Return the newest head that this key has signed. Reads only the ends of the files."""
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
    """Yield every readable line, the oldest file first, without checking signatures."""
    for one in files(path):
        with one.open("rb") as file:
            yield from filter(None, map(_read, file))


def files(path: Path) -> list[Path]:
    """Return the files of earlier months in order, and then the present one."""
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
        return None  # cut off by a crash, or not a line of Stint


def _signed(seq: object, digest: object, at: object, after: object) -> bytes:
    what = f"stint-head:{seq}" if after is None else f"stint-restored:{after}:{seq}"
    return f"{what}:{digest}:{at}".encode()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with _opened(path.with_name(f"{path.name}.lock"), os.O_APPEND) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released with the descriptor, also when the process dies
        yield


def _begin_anew(path: Path, added: bytes) -> None:
    """A file exists at every moment, and a crash after any of these steps loses no line."""
    beside = path.with_name(f"{path.name}.new")
    with _opened(beside, os.O_TRUNC) as file:
        _write(file.fileno(), added)
    kept = path.with_name(f"{path.stem}-{_month_of(path)}{path.suffix}")
    if not kept.exists():
        os.link(path, kept)
    elif not kept.samefile(path):  # the clock went back, so both files are of this month
        with _opened(kept, os.O_APPEND) as file:
            _write(file.fileno(), (b"" if _ends_well(kept, kept.stat().st_size) else b"\n") + path.read_bytes())
    beside.replace(path)


def _month_of(path: Path) -> str | None:
    """The month of its first line, "2026-11"; None for a file without lines."""
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
    """Write all of it and sync it to the disk. Raises OSError; a full disk may have taken a part."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    os.fsync(fd)


def _opened(path: Path, how: int) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600), "wb")


def _escaped(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)
