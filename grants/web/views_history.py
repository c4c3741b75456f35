"""The history as a page and as CSV: the same filters from the URL, limited to what the person may see."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from grants import clock
from grants.catalog.levels import WORDS
from grants.web import history as past
from grants.web.signed_in import signed_in

COLUMNS = (
    "grant", "request", "state", "person", "person_id", "asked_by",
    "kind", "resource", "connection", "environment", "level",
    "asked_at", "began_at", "ends_at", "ended_at", "end_reason", "seconds", "decided_by", "reason",
)  # fmt: skip


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Every item asked that this person may see, newest first."""
    subject, now = signed_in(request), clock.now()
    form = past.Filter(request.GET)
    context = {
        "now": now,
        "form": form,
        "states": past.STATES,
        "levels": WORDS,
        "filtered": any(request.GET.get(name) for name in past.Filter.base_fields if name not in ("before", "after")),
    }
    if not form.is_valid():
        return render(request, "history.html", context | {"page": None}, status=400)
    items = past.matching(form.cleaned_data, subject, now)
    page = past.page(items, now, before=form.cleaned_data["before"], after=form.cleaned_data["after"])
    return render(request, "history.html", context | {"page": page})


@require_safe
def history_csv(request: HttpRequest) -> HttpResponseBase:
    """The same as CSV, streamed: RFC 4180, UTF-8, times in UTC."""
    subject, now = signed_in(request), clock.now()
    form = past.Filter(request.GET)
    if not form.is_valid():
        problems = [f"{name}: {error}" for name, errors in form.errors.items() for error in errors]
        return HttpResponse("\n".join(problems) + "\n", status=400, content_type="text/plain; charset=utf-8")
    rows = past.every(past.matching(form.cleaned_data, subject, now), now)
    response = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="stint-history-{now:%Y%m%d-%H%M}.csv"'
    response["Cache-Control"] = "no-store"
    return response


class _Echo:
    """What csv.writer needs of a file: hands back what is written."""

    def write(self, line: str) -> str:
        return line


def _lines(rows: Iterable[past.Row]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    yield writer.writerow(COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(value) for value in _values(row)])


def _values(row: past.Row) -> tuple[str | int, ...]:
    grant, asked, resource = row.grant, row.request, row.item.resource
    return (
        grant.ref if grant else "",
        asked.ref,
        row.word,
        row.item.beneficiary.name,
        row.item.beneficiary.ref,
        asked.requester.ref,
        resource.kind,
        resource.name,
        resource.connection.slug,
        resource.connection.environment,
        row.item.level,
        _iso(asked.asked_at),
        _iso(grant.starts_at if grant else None),
        _iso(grant.ends_at if grant else None),
        _iso(grant.over_at if grant and row.state == "ended" else None),
        (grant.end_reason or "") if grant else "",
        int(row.length.total_seconds()),
        "; ".join(row.deciders),
        asked.reason,
    )


def _iso(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else ""


def _cell(value: str | int) -> str | int:
    """A spreadsheet runs what begins like a formula: an apostrophe before it makes it text."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return f"'{value}"
    return value
