"""Rows of the history as text, put together by PostgreSQL: what Python takes for it is several times as long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from grants.lifecycle import standing
from grants.lifecycle.read_models.history import Items
from grants.references import LETTERS
from grants.web import files
from grants.web.words import states

_ISO = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""

# Column → SQL. The state is standing.of_item() once more: a test holds the two to one answer.
_COLUMNS = {
    "grant": f"'{LETTERS['grant']}-' || g.id",
    "request": f"'{LETTERS['request']}-' || r.id",
    "state": """%(words)s::jsonb ->> CASE
        WHEN g.id IS NULL THEN CASE WHEN r.state = 'pending' AND %(now)s >= r.lapses_at THEN 'lapsed' ELSE r.state END
        WHEN %(now)s < g.starts_at THEN 'scheduled'
        WHEN %(now)s >= over_at THEN coalesce(g.end_reason, 'elapsed')
        WHEN over_at - %(now)s < least(%(ending)s, (over_at - g.starts_at) / 4) THEN 'ending'
        ELSE 'granted' END""",
    "person": "b.name",
    "person_id": f"'{LETTERS['subject']}-' || b.id",
    "asked_by": f"'{LETTERS['subject']}-' || r.requester_id",
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
    "decided_by": "d.names",
    "reason": "r.reason",
}
COLUMNS = tuple(_COLUMNS)
# A row's others by their keys: joined freely, they are read whole, as a million of them are believed to be cheaper to
# read than the few thousand wanted are to look up. OFFSET 0 keeps them so, and computes each value once.
_ROWS = f"""
SELECT {", ".join(f'{sql} AS "{name}"' for name, sql in _COLUMNS.items())}
FROM grants_requestitem i
CROSS JOIN LATERAL (SELECT * FROM grants_request WHERE id = i.request_id OFFSET 0) r
CROSS JOIN LATERAL (SELECT * FROM accounts_subject WHERE id = i.beneficiary_id OFFSET 0) b
CROSS JOIN LATERAL (SELECT * FROM grants_resource WHERE id = i.resource_id OFFSET 0) s
CROSS JOIN LATERAL (SELECT * FROM grants_connection WHERE id = s.connection_id OFFSET 0) c
LEFT JOIN LATERAL (SELECT *, coalesce(ended_at, ends_at) AS over_at FROM grants_grant
    WHERE (request_id, resource_id, level) = (i.request_id, i.resource_id, i.level) OFFSET 0) g ON true
CROSS JOIN LATERAL (SELECT ARRAY(SELECT p.name FROM grants_decision d JOIN accounts_subject p ON p.id = d.approver_id
    WHERE d.request_id = i.request_id AND NOT d.superseded ORDER BY d.id) AS names OFFSET 0) d
WHERE i.id = ANY(%(ids)s) ORDER BY i.id DESC"""  # noqa: S608 (of what stands above)

# What cannot begin with anything but words of ours.
_OURS = {
    *("grant", "request", "state", "person_id", "asked_by", "kind", "level"),
    *("asked_at", "began_at", "ends_at", "ended_at", "end_reason", "seconds"),
}


def _cell(name: str) -> str:
    if name in _OURS:
        return f'"{name}"'
    return files.cell("array_to_string(decided_by, '; ')" if name == "decided_by" else f'"{name}"')


_LINES = {
    "csv": files.csv_of(f"SELECT {', '.join(map(_cell, COLUMNS))} FROM ({_ROWS}) listed"),  # noqa: S608
    "jsonl": files.jsonl_of(_ROWS),
}
_WORDS = {state: mark.word for state, mark in states.STATES.items()} | dict(standing.CLOSED_WORDS)


@dataclass(frozen=True, slots=True)
class Listed:
    """Items as files.Listed wants them, as they stand `now`."""

    items: Items
    now: datetime

    def newest_ids(self, count: int, *, before: int | None = None) -> Sequence[int]:
        return self.items.newest_ids(count, before=before)

    def lines(self, ids: Sequence[int], ending: str) -> bytes:
        told = {"ids": list(ids), "now": self.now, "ending": standing.ENDING, "words": json.dumps(_WORDS)}
        return files.text(_LINES[ending], told)
