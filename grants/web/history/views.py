"""The history as a page and as a file: the same filters from the URL, limited to what the person may see."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from grants import clock
from grants.catalog.levels import WORDS
from grants.lifecycle.read_models import history as past
from grants.web import files
from grants.web.history import file_rows
from grants.web.history.filters import Filter
from grants.web.signed_in import signed_in


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Every item asked that this person may see, newest first."""
    subject, now = signed_in(request), clock.of_page()
    form = Filter(request.GET)
    context = {
        "now": now,
        "form": form,
        "states": past.STATES,
        "levels": WORDS,
        "rows_of_file": f"{files.PART:,}",
        "filtered": any(request.GET.get(name) for name in Filter.base_fields if name not in ("before", "after")),
    }
    if not form.is_valid():
        return render(request, "history/history.html", context | {"page": None}, status=400)
    items = past.matching(form.filters(), subject, now)
    page = past.page(items, now, before=form.cleaned_data["before"], after=form.cleaned_data["after"])
    return render(request, "history/history.html", context | {"page": page})


@require_safe
def as_file(request: HttpRequest, ending: str) -> HttpResponse:
    """The same as a file, times in UTC: CSV or JSON Lines."""
    subject, now = signed_in(request), clock.of_page()
    form = Filter(request.GET)
    if not form.is_valid():
        return files.refused(form)
    items, before = past.matching(form.filters(), subject, now), form.cleaned_data["before"]
    listed = file_rows.Listed(items, now)
    columns = file_rows.COLUMNS
    return files.answer(request, listed, name="history", columns=columns, ending=ending, before=before, now=now)
