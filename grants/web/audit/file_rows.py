"""Write events of the record as text, in PostgreSQL. They have ids and codes; names are not looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import DataError, transaction
from django.db.models import QuerySet

from grants.audit.models import AuditEvent
from grants.web import files

COLUMNS = ("seq", "at", "verb", "actor", "facts", "prev", "hash")
_ROWS = """
SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, {verb} AS verb, {actor} AS actor,
    {facts} AS facts, encode(prev, 'hex') AS prev, encode(hash, 'hex') AS hash
FROM grants_auditevent WHERE seq = ANY(%(ids)s) ORDER BY seq DESC"""

# A payload is JSON on one line. After tampering it may be any bytes, which are then written escaped.
_TEXT = "convert_from(payload, 'UTF8')"
_JSON = f"translate({_TEXT}, E'\\n\\r', '  ')::json"
_BYTES = "encode(payload, 'escape')"


def _csv(facts: str) -> str:
    return files.csv_of(_ROWS.format(verb=files.cell("verb"), actor=files.cell("actor"), facts=files.cell(facts)))


def _jsonl(facts: str) -> str:
    return files.jsonl_of(_ROWS.format(verb="verb", actor="actor", facts=facts))


_LINES = {"csv": _csv(_TEXT), "jsonl": _jsonl(_JSON)}
_LINES_OF_BYTES = {"csv": _csv(_BYTES), "jsonl": _jsonl(_BYTES)}


@dataclass(frozen=True, slots=True)
class Listed:
    """The events that pass the filters, for files.answer()."""

    events: QuerySet[AuditEvent]

    def newest_ids(self, count: int, *, before: int | None = None) -> Sequence[int]:
        older = self.events.filter(seq__lt=before) if before else self.events
        return list(older.order_by("-seq").values_list("seq", flat=True)[:count])

    def lines(self, ids: Sequence[int], ending: str) -> bytes:
        try:
            with transaction.atomic():
                return files.text(_LINES[ending], {"ids": list(ids)})
        except DataError:  # at least one of them was tampered with
            if len(ids) == 1:
                return files.text(_LINES_OF_BYTES[ending], {"ids": list(ids)})
            half = len(ids) // 2
            return self.lines(ids[:half], ending) + self.lines(ids[half:], ending)
