"""The history as a page and as CSV: the same filters from the URL, limited to what the person may see."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
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
        "rows_of_csv": f"{past.EXPORT:,}",
        "filtered": any(request.GET.get(name) for name in past.Filter.base_fields if name not in ("before", "after")),
    }
    if not form.is_valid():
        return render(request, "history.html", context | {"page": None}, status=400)
    items = past.matching(form.cleaned_data, subject, now)
    page = past.page(items, now, before=form.cleaned_data["before"], after=form.cleaned_data["after"])
    return render(request, "history.html", context | {"page": page})


@require_safe
def history_csv(request: HttpRequest) -> HttpResponse:
    """The same as CSV: RFC 4180, UTF-8, times in UTC. A file that is not all says so by its name, and has a `Link`."""
    subject, now = signed_in(request), clock.now()
    form = past.Filter(request.GET)
    if not form.is_valid():
        problems = [f"{name}: {error}" for name, errors in form.errors.items() for error in errors]
        return HttpResponse("\n".join(problems) + "\n", status=400, content_type="text/plain; charset=utf-8")
    items = past.matching(form.cleaned_data, subject, now)
    file, last = io.StringIO(newline=""), None
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in past.part(items, now, before=form.cleaned_data["before"]):
        writer.writerow([_cell(value) for value in _values(row)])
        last = row.item.pk
    more = bool(last and items.newest(1, before=last))
    name = f"stint-history-{now:%Y%m%d-%H%M}{'-more-follows' if more else ''}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    if more:
        query = request.GET.copy()
        query["before"] = str(last)
        headers["Link"] = f'<{request.path}?{query.urlencode()}>; rel="next"'
    return HttpResponse(file.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


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
