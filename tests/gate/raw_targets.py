"""Raw targets as attackers send them, from one list for the pure tests and for the live gate (facts: reliability §7)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

# Probes that are known to have fooled some proxy or gate, with "secret" where a path that is not granted goes.
PROBES: tuple[bytes, ...] = (
    b"/api/admin/x",
    b"/api/%61dmin/x",
    b"/%61pi/admin/x",
    b"/api//admin/x",
    b"//api/admin/x",
    b"/api/./admin/x",
    b"/api/public/../admin/x",
    b"/api/public/%2e%2e/admin/x",
    b"/api/public/..%2fadmin/x",
    b"/api%2fadmin/x",
    b"/api/admin%2fx",
    b"/api/Admin/x",
    b"/api/admin;/x",
    b"/api/public/..;/admin/x",
    b"/api/%2561dmin/x",
    b"/api/public/%00../admin/x",
    b"/api\\admin\\x",
    b"/api/public/x#/../../admin",
    b"/api/work_pools/prod",
    b"/api/work_pools/%70rod",
    b"/api/work_pools/dev%2f..%2fprod",
    b"/api/work_pools/prod%20",
    b"http://evil/api/admin/x",
    b"*",
    b"/api/work_pools/dev/../prod",
    b"/api/work_pools/dev%5c..%5cprod",
    b"/api/work_pools/dev\\..\\prod",
    b"/api/work_pools/dev/%2E%2E/prod",
    b"/api/work_pools/dev/.%2e/prod",
    b"/api/work_pools/dev/%252e%252e/prod",
    b"/api/work_pools/dev%3b/../prod",
    b"/api/work_pools/dev;x=1/prod",
    b"/api/work_pools/dev%23/prod",
    b"/api/work_pools/dev%3f/prod",
    b"/api/work_pools/dev?/../prod",
    b"/api/work_pools/dev\x00/prod",
    b"/api/work_pools/dev%0d%0aHost:evil/prod",
    b"/api/work_pools/dev\r\nHost:evil/prod",
    b"/api/work_pools/dev /prod",
    b"/api/work_pools/caf\xc3\xa9",
    b"/api/work_pools/caf%c3%a9",
    b"/api/work_pools/caf%e9",
    b"/api/work_pools/%c0%ae%c0%ae/prod",
    b"/api/work_pools/%e0%80%af/prod",
    b"/api/work_pools/%u002e%u002e/prod",
    b"/api/work_pools/%",
    b"/api/work_pools/%2",
    b"/api/work_pools/%zz",
    b"/api/work_pools/prod/",
    b"/api/work_pools/prod//",
    b"/api/work_pools/%",
    b"/api/work_pools/%ef%bc%8fprod",
    b"/api/work_pools/prod%e2%80%a8",
    b"/api/work_pools/prod%c2%85",
    b"https://127.0.0.1/api/work_pools/prod",
    b"//evil.example/api/work_pools/prod",
    b"/\\evil.example/api",
    b"127.0.0.1:4200",
    b"",
    b"?",
    b"/api/variables/name/x?",
    b"/api/health?x=%",
    b"/api/health?x=%0a",
    b"/api/health?x=%ff",
    b"/api/health#",
    b"/api/health%23/../work_pools/prod",
    b"/" + b"a" * 9000,
    b"/api/health?" + b"&".join(b"x=%d" % n for n in range(300)),
)
_DOTS = (
    "/./",
    "/../",
    "/%2e/",
    "/%2e%2e/",
    "/.%2E/",
    "/..;/",
    "/;/",
    "/;x=1/",
    "//",
    "/%2f",
    "%2f",
    "%252f",
    "\\",
    "%5c",
    "%00/",
    "%23/",
)


def raw_targets(paths: Sequence[str], *, count: int = 1200, seed: int = 5) -> list[bytes]:
    """The probes, and `count` spellings more that aim at one of `paths` ("/api/work_pools/prod"). Always the same ones."""
    chance = random.Random(seed)
    found = dict.fromkeys(PROBES)
    spellings = _spellings(paths, chance)
    while len(found) < count + len(PROBES):
        found[next(spellings)] = None
    return list(found)


def _spellings(paths: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    while True:
        path = chance.choice(paths)
        text = "".join(_char(char, chance) for char in path)
        for _ in range(chance.choice((0, 1, 1, 2))):
            where = chance.choice([at for at, char in enumerate(text) if char == "/"] or [0])
            text = text[:where] + chance.choice(_DOTS) + text[where + 1 :]
        text += chance.choice(
            ("", "", "", "/", "//", "?", "?x=1", "?x=%2e%2e%2f", "#x", "%20", "%00", ";", ";v=1", "/.")
        )
        head = chance.choice(
            (b"", b"", b"", b"", b"http://evil", b"//evil", b"/api/health/..", b"/api/health%2f..", b"/v2/..")
        )
        yield head + text.encode("latin-1", "replace")


def _char(char: str, chance: random.Random) -> str:
    """The character as it is, or encoded once or twice, or in the other case."""
    how = chance.random()
    if how < 0.97:
        return char
    once = f"%{ord(char):02x}" if chance.random() < 0.5 else f"%{ord(char):02X}"
    if how < 0.99:
        return once
    if how < 0.995:
        return "%25" + once[1:]
    return char.swapcase()
