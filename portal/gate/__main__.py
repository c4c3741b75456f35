"""`python -m portal.gate`: the gate, until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from aiohttp import http_parser

from grants.adapters import trust
from grants.gate.bounds.aside import GIVES_WAY
from grants.gate.feed.memory import MemoryUnreadable
from grants.gate.registry import KINDS
from portal import log
from portal.env import read_gate_env
from portal.gate.process import Gate


def main() -> int:
    env = read_gate_env()
    trust.also(env.ca_file)
    log.configure(level=env.log_level, style=env.log_format)
    if not hasattr(http_parser, "HttpRequestParserC"):
        print("aiohttp has no C parser here, and its other one lets more pass.", file=sys.stderr)  # noqa: T201
        return 2

    sys.setswitchinterval(GIVES_WAY)

    async def gate() -> int:
        return await Gate(env, KINDS).run()

    try:
        return _run(gate())
    except MemoryUnreadable as error:
        print(f"{error}. Restore it, or remove it if you know why.", file=sys.stderr)  # noqa: T201 (as above)
        return 2


def _run(gate: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415 (there is none for Windows)
    except ImportError:
        return asyncio.run(gate)
    return uvloop.run(gate)


if __name__ == "__main__":
    sys.exit(main())
