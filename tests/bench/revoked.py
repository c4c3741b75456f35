"""From the commit of a revocation to the first call that is refused: with the notification, and with it lost."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import aiohttp

from grants.tokens.mint import mint
from tests.bench.figures import percentile, say
from tests.gate.views import Writer

TRIES = 200


async def measure(writer: Writer, url: str, host: str, *, connection: int, grant: int) -> None:
    # Each token is revoked as soon as the gate knows it, so just after a reading: the poll is at its worst moment.
    print(f"\nRevoked, then refused: milliseconds from the commit to the first refusal, {TRIES} tries each")
    for notify, what, goal in ((True, "by NOTIFY", "p99 ≤ 12"), (False, "NOTIFY lost, by the poll", "≤ 110")):
        took = [
            await _one(writer, url, host, 1000 + number + TRIES * notify, connection, grant, notify)
            for number in range(TRIES)
        ]
        figures = f"p50 {percentile(took, 50):.1f}, p99 {percentile(took, 99):.1f}, max {max(took):.1f}"
        say(what, figures, goal)


async def _one(writer: Writer, url: str, host: str, row_id: int, connection: int, grant: int, notify: bool) -> float:
    minted = mint("token")
    row = {
        "id": row_id, "kind": "token", "digest": minted.digest, "subject_id": 1, "connection_id": connection,
        "grant_id": grant, "expires_at": datetime.now(UTC) + timedelta(hours=1), "revoked": False,
    }  # fmt: skip
    writer.put(credentials=[row])
    headers = {"Host": host, "Authorization": f"Bearer {minted.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def status() -> int:
            async with session.get(f"{url}/api/admin/version") as answer:
                await answer.read()
                return answer.status

        while await status() != 200:
            pass
        writer.put(notify=notify, credentials=[{**row, "revoked": True}])
        began = time.perf_counter()
        while (said := await status()) != 401:
            assert said == 200, said
        return (time.perf_counter() - began) * 1000
