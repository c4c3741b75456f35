"""Lists as files: CSV for spreadsheets, JSON Lines for programs, in parts, each with a `Link` to the next.

A file has an end and is made at once, by one query: what is streamed would hold a thread, or keep the database
from cleaning up, for as long as somebody reads (portal/front.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from django import forms
from django.db import connection
from django.http import HttpRequest, HttpResponse

PART = 20_000  # rows of a file: some megabytes, so that work for a client that has gone is bounded
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
_FORMULA = "=+-@\t\r\n"  # a spreadsheet runs a cell that begins with one of these


class Listed(Protocol):
    """Rows that pass the filters and that this person may see."""

    def newest_ids(self, count: int, *, before: int | None = None) -> Sequence[int]:
        """List the ids of `count` rows older than `before`, the newest first."""

    def lines(self, ids: Sequence[int], ending: str) -> bytes:
        """Write these rows as text, the newest first, each with its line end."""


def answer(
    request: HttpRequest,
    listed: Listed,
    *,
    name: str,
    columns: Sequence[str],
    ending: str,
    before: int | None,
    now: datetime,
) -> HttpResponse:
    """Send the newest PART rows, or those older than `before`. If rows are left, name and `Link` say so."""
    ids = listed.newest_ids(PART + 1, before=before)
    more = len(ids) > PART
    content = [(",".join(columns) + "\r\n").encode() if ending == "csv" else b""]
    if ids:
        content.append(listed.lines(ids[:PART], ending))
    file = f"stint-{name}-{now:%Y%m%d-%H%M}{'-more-follows' if more else ''}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    if more:
        query = request.GET.copy()
        query["before"] = str(ids[PART - 1])
        headers["Link"] = f'<{request.path}?{query.urlencode()}>; rel="next"'
    return HttpResponse(content, content_type=TYPES[ending], headers=headers)


def refused(form: forms.Form) -> HttpResponse:
    """Which filters cannot be meant."""
    problems = [f"{name}: {error}" for name, errors in form.errors.items() for error in errors]
    return HttpResponse("\n".join(problems) + "\n", status=400, content_type="text/plain; charset=utf-8")


def cell(sql: str) -> str:
    """SQL of a cell of a CSV that may hold anything: an apostrophe makes a formula text."""
    return f"CASE WHEN ascii({sql}) = ANY(%(formula)s) THEN '''' || {sql} ELSE {sql} END"


def csv_of(select: str) -> str:
    """The same rows as CSV, for text()."""
    return f"COPY ({select}) TO STDOUT (FORMAT csv)"


def jsonl_of(select: str) -> str:
    """The same rows as JSON Lines, for text()."""
    return f"SELECT row_to_json(listed)::text FROM ({select}) listed"  # noqa: S608 (of our own parts)


def text(sql: str, told: Mapping[str, Any]) -> bytes:
    """What csv_of() or jsonl_of() made, with these values: lines, each with its end."""
    told = {**told, "formula": [ord(char) for char in _FORMULA]}
    with connection.wrap_database_errors, connection.cursor() as cursor:
        if sql.startswith("COPY"):
            with cursor.copy(sql, told) as rows:
                return b"".join(bytes(row)[:-1] + b"\r\n" for row in rows)  # PostgreSQL ends a row by \n
        cursor.execute(sql, told)
        return "".join(f"{line}\n" for (line,) in cursor).encode()
