"""The file of exported heads keeps every line whole: over crashes, a full disk, two writers, and months."""

from __future__ import annotations

import json
import os
import resource
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grants.audit import heads

KEY = Ed25519PrivateKey.generate()
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def export(path: Path, seq: int, at: datetime = NOW) -> None:
    heads.append(path, heads.signed_line(seq, bytes(32), at, KEY), at)


def seqs(path: Path) -> list[int]:
    return [head.seq for head in heads.read(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heads.jsonl"


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_what_a_crash_left_of_a_line_spoils_no_other(path: Path, kept: int) -> None:
    export(path, 1)
    path.write_bytes(path.read_bytes() + heads.signed_line(2, bytes(32), NOW, KEY)[:kept])
    export(path, 3)
    export(path, 4)
    assert [seq for seq in seqs(path) if seq != 2] == [1, 3, 4]
    last = heads.last(path, KEY.public_key())
    assert last
    assert last.seq == 4


def test_a_full_disk_leaves_the_file_as_it_was(path: Path) -> None:
    """The write is cut short in the middle of the line, as by ENOSPC: what was written of it is taken back."""
    export(path, 1)
    before = path.read_bytes()
    if (pid := os.fork()) == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, resource.RLIM_INFINITY))
        try:
            export(path, 2)
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert path.read_bytes() == before
    export(path, 3)
    assert seqs(path) == [1, 3]


def test_two_at_once_wait_for_each_other(path: Path) -> None:
    """Two processes over the turn of a month: nothing is lost, nothing is mixed, and the months are apart."""
    children = []
    for child in range(2):
        if (pid := os.fork()) == 0:
            try:
                for n in range(40):
                    export(path, 1 + child * 100 + n, NOW + timedelta(days=n // 10))
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    assert sorted(seqs(path)) == [*range(1, 41), *range(101, 141)]
    for file in heads.files(path):
        assert all(json.loads(line) for line in file.read_bytes().splitlines())


def test_each_month_has_a_file(path: Path) -> None:
    for month in (1, 2, 3):
        for n in range(2):
            export(path, month * 10 + n, datetime(2026, month, 1 + n, tzinfo=UTC))
    assert [one.name for one in heads.files(path)] == ["heads-2026-01.jsonl", "heads-2026-02.jsonl", "heads.jsonl"]
    assert seqs(path) == [10, 11, 20, 21, 30, 31]
    assert all(one.stat().st_mode & 0o077 == 0 for one in heads.files(path))
    # The clock went back, and forward again: no line is lost.
    export(path, 40, datetime(2026, 2, 3, tzinfo=UTC))
    export(path, 50, datetime(2026, 3, 3, tzinfo=UTC))
    assert sorted(set(seqs(path))) == [10, 11, 20, 21, 30, 31, 40, 50]


def test_the_newest_is_read_from_the_end(path: Path) -> None:
    """However long the file is: what lies before its end is not even opened for reading."""
    line = heads.signed_line(1, bytes(32), NOW, KEY)
    path.write_bytes(line * 5_000 + heads.signed_line(2, bytes(32), NOW, KEY) + b'{"seq": 9, "torn')
    read: list[int] = []
    real = heads._read

    def counted(raw: bytes) -> heads.ExportedHead | None:
        read.append(len(raw))
        return real(raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "_read", counted)
        last = heads.last(path, KEY.public_key())
    assert last
    assert last.seq == 2
    assert len(read) == 2
    other = Ed25519PrivateKey.generate().public_key()
    assert heads.last(path, other) is None
