"""Rows of the history as text, put together by PostgreSQL: what Python takes for it is several times as long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from grants.web import files, words
from grants.web.history import Items
from grants.web.timeline import CLOSED_WORDS

_ISO = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""

# Column → SQL. The state is timeline.standing_of() once more: a test holds the two to one answer.
_COLUMNS = {
    "grant": "'G-' || g.id",
    "request": "'R-' || r.id",
    "state": """%(words)s::jsonb ->> CASE
        WHEN g.id IS NULL THEN CASE WHEN r.state = 'pending' AND %(now)s >= r.lapses_at THEN 'lapsed' ELSE r.state END
        WHEN %(now)s < g.starts_at THEN 'scheduled'
        WHEN %(now)s >= over_at THEN coalesce(g.end_reason, 'elapsed')
        WHEN over_at - %(now)s < %(ending)s THEN 'ending'
        ELSE 'granted' END""",
    "person": "b.name",
    "person_id": "'S-' || b.id",
    "asked_by": "'S-' || r.requester_id",
    "kind": "s.kind",
    "resource": "s.name",
    "connection": "c.slug",
    "environment": "c.environment",
    "level": "i.level",
    "asked_at": _ISO.format("r.asked_at"),
    "began_at": _ISO.format("g.starts_at"),
    "ends_at": _ISO.format("g.ends_at"),
    "ended_at": f"CASE WHEN %(now)s >= over_at THEN {_ISO.format('over_at')} END",
    "end_reason": "g.end_reason",
    "seconds": "trunc(extract(epoch FROM coalesce(over_at - g.starts_at, r.duration)))::bigint",
    "decided_by": """ARRAY(SELECT p.name FROM grants_decision d JOIN accounts_subject p ON p.id = d.approver_id
        WHERE d.request_id = r.id AND NOT d.superseded ORDER BY d.id)""",
    "reason": "r.reason",
}
COLUMNS = tuple(_COLUMNS)
_ROWS = f"""
SELECT {", ".join(f'{sql} AS "{name}"' for name, sql in _COLUMNS.items())}
FROM grants_requestitem i
JOIN grants_request r ON r.id = i.request_id
JOIN accounts_subject b ON b.id = i.beneficiary_id
JOIN grants_resource s ON s.id = i.resource_id
JOIN grants_connection c ON c.id = s.connection_id
LEFT JOIN grants_grant g ON (g.request_id, g.resource_id, g.level) = (i.request_id, i.resource_id, i.level)
CROSS JOIN LATERAL (SELECT coalesce(g.ended_at, g.ends_at) AS over_at) o
WHERE i.id = ANY(%(ids)s) ORDER BY i.id DESC"""  # noqa: S608 (of what stands above)

# What cannot begin with anything but words of ours.
_OURS = {"grant", "request", "state", "person_id", "asked_by", "asked_at", "began_at", "ends_at", "ended_at", "seconds"}


def _cell(name: str) -> str:
    if name in _OURS:
        return f'"{name}"'
    return files.cell("array_to_string(decided_by, '; ')" if name == "decided_by" else f'"{name}"')


_LINES = {
    "csv": files.csv_of(f"SELECT {', '.join(map(_cell, COLUMNS))} FROM ({_ROWS}) listed"),  # noqa: S608
    "jsonl": files.jsonl_of(_ROWS),
}
_WORDS = {state: mark.word for state, mark in words.STATES.items()} | dict(CLOSED_WORDS)


@dataclass(frozen=True, slots=True)
class Listed:
    """Items as files.Listed wants them, as they stand `now`."""

    items: Items
    now: datetime

    def newest_ids(self, count: int, *, before: int | None = None) -> Sequence[int]:
        return self.items.newest_ids(count, before=before)

    def lines(self, ids: Sequence[int], ending: str) -> bytes:
        told = {"ids": list(ids), "now": self.now, "ending": words.ENDING, "words": json.dumps(_WORDS)}
        return files.text(_LINES[ending], told)
