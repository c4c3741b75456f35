"""Files of the history and the record beside a bare COPY of the same rows, and the verification beside bare hashlib."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from tests.bench.figures import say

TRIES = 3
EVENTS = """SELECT seq, at, verb, actor, payload, prev, hash FROM grants_auditevent
    WHERE seq BETWEEN {last} AND {first} ORDER BY seq DESC"""
ITEMS = """SELECT g.id, r.id, r.state, b.name, b.id, r.requester_id, s.kind, s.name, c.slug, c.environment, i.level,
        r.asked_at, g.starts_at, g.ends_at, g.ended_at, g.end_reason, r.duration,
        ARRAY(SELECT p.name FROM grants_decision d JOIN accounts_subject p ON p.id = d.approver_id
            WHERE d.request_id = r.id AND NOT d.superseded ORDER BY d.id), r.reason
    FROM grants_requestitem i JOIN grants_request r ON r.id = i.request_id
    JOIN accounts_subject b ON b.id = i.beneficiary_id JOIN grants_resource s ON s.id = i.resource_id
    JOIN grants_connection c ON c.id = s.connection_id
    LEFT JOIN grants_grant g ON (g.request_id, g.resource_id, g.level) = (i.request_id, i.resource_id, i.level)
    WHERE i.id BETWEEN {last} AND {first} ORDER BY i.id DESC"""


def files(client: Any) -> None:
    """Parts one after the other, as somebody who sees all: rows a second, and the share of what a bare COPY does."""
    from grants.web import limits  # noqa: PLC0415 (needs the settings)

    limits.LIMITS.clear()
    for listed, sql in (("history", ITEMS), ("audit", EVENTS)):
        for ending in ("csv", "jsonl"):
            took, bare = _best(lambda listed=listed, ending=ending, sql=sql: _file(client, f"/{listed}.{ending}", sql))
            rate = f"{20_000 / took:,.0f} rows/s, {bare / took:.2f} of a bare COPY"
            say(f"/{listed}.{ending}, a part of 20,000", rate, "50,000 rows/s")


def _best(tried: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The quickest of each: others share the machine."""
    times = [tried() for _ in range(TRIES)]
    return min(time for time, _ in times), min(bare for _, bare in times)


def _file(client: Any, address: str, sql: str) -> tuple[float, float]:
    began = time.perf_counter()
    answer = client.get(address)
    took = time.perf_counter() - began
    assert answer.status_code == 200, address
    first = _first(sql)
    last = int(re.search(r"before=(\d+)", answer["Link"])[1])  # type: ignore[index]
    began = time.perf_counter()
    assert _copy(sql.format(first=first, last=last)) == 20_000
    return took, time.perf_counter() - began


def _first(sql: str) -> int:
    from grants.audit.models import AuditEvent  # noqa: PLC0415
    from grants.lifecycle.models import RequestItem  # noqa: PLC0415

    model = AuditEvent if sql is EVENTS else RequestItem
    return int(model.objects.order_by("-pk").values_list("pk", flat=True)[0])


def _copy(sql: str) -> int:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor, cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT csv)") as rows:
        return sum(1 for _ in rows)


def verification() -> None:
    """The whole record, its exported heads included, beside SHA-256 over payloads of the same lengths."""
    from grants.audit import verify  # noqa: PLC0415
    from grants.audit.models import AuditEvent  # noqa: PLC0415
    from grants.web.audit.views import GO_ON_SECONDS  # noqa: PLC0415

    began, walk, steps = time.perf_counter(), verify.Walk(), 0
    came: verify.Walk | verify.Verdict = walk
    while isinstance(came, verify.Walk):
        came, _ = verify.go_on(came, seconds=GO_ON_SECONDS)
        steps += 1
    took = time.perf_counter() - began
    assert came.whole, came
    some = [bytes(payload) + bytes(100) for payload in AuditEvent.objects.values_list("payload", flat=True)[:100_000]]
    began = time.perf_counter()
    for payload in some:
        hashlib.sha256(payload).digest()
    bare = (time.perf_counter() - began) / len(some) * came.count
    figure = f"{took:.1f} s in {steps} steps, {took / came.count * 1_000_000:.1f} s a million, {took / bare:.1f} x bare hashlib"
    say(f"verify {came.count:,} events", figure, "5 s a million")
