"""The newest head of the record that this gate has seen. A database that does not continue it is not believed.

It is kept in a file, where one is set, so that it survives a restart. A new gate can be given the file of exported
heads, whose last line serves as well.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

WRITE_SECONDS = 1.0  # a gate that is killed loses the heads of at most this time
TAIL = 16_384  # bytes at the end of the exported heads that hold the last whole line


class Head(NamedTuple):
    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"event {self.seq} ({self.hash.hex()[:12]}…)"


NONE = Head(0, bytes(32))


class MemoryUnreadable(Exception):
    """A file that should hold the head that was seen cannot be read; `.args[0]` names it."""


class Memory:
    def __init__(self, state: Path | None = None, exported: Path | None = None) -> None:
        """Raises MemoryUnreadable: without what was seen, no database can be believed."""
        self._state, self._exported = state, exported
        self._written = self._seen = _read(state) if state else NONE

    def known(self) -> Head:
        """The head that a database must continue; the exported heads are read anew. Raises MemoryUnreadable."""
        exported = _last_line(self._exported) if self._exported else NONE
        return max(self._seen, exported, key=lambda head: head.seq)

    def saw(self, head: Head) -> None:
        self._seen = head

    async def keep(self) -> None:
        """Until cancelled, write down what was seen, in a thread."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await asyncio.to_thread(self.write)
            except OSError as error:
                log.error("gate_state_not_written", error=str(error))

    def write(self) -> None:
        """Replace the file, if there is a new head. Raises OSError."""
        seen = self._seen
        if self._state is None or seen == self._written:
            return
        beside = self._state.with_name(f"{self._state.name}.{os.getpid()}")
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"seq": seen.seq, "hash": seen.hash.hex()}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._state)
        self._written = seen


def _read(path: Path) -> Head:
    try:
        return _head(path.read_bytes())
    except FileNotFoundError:
        return NONE
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MemoryUnreadable(f"{path} does not say which head of the record was seen: {error}") from error


def _last_line(path: Path) -> Head:
    """The head in the last whole line. If there is no file, nothing was exported yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return NONE
    except OSError as error:
        raise MemoryUnreadable(f"{path} can't be read: {error.strerror}") from error
    for line in reversed(lines):
        try:
            return _head(line)
        except (ValueError, KeyError, TypeError):
            continue
    if size:
        raise MemoryUnreadable(f"{path} ends in no head of the record")
    return NONE


def _head(text: bytes) -> Head:
    said = json.loads(text)
    return Head(int(said["seq"]), bytes.fromhex(said["hash"]))
