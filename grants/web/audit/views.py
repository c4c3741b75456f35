"""Show the record and verify it. For admins and auditors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django import forms
from django.core import signing
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Subject
from grants import clock, references
from grants.audit import export
from grants.audit import verify as chain
from grants.audit.models import AuditEvent, AuditHead
from grants.audit.verbs import Verb
from grants.catalog.models import Connection, Resource
from grants.catalog.search import having
from grants.web import days, files
from grants.web.audit import file_rows, record
from grants.web.signed_in import sees_all

PAGE = 50
GO_ON_SECONDS = 1.5  # of verification per request; the page sends further requests until it is done
_SALT = "grants.web.audit.verify"
MATCHES = 50  # the most rows that a name in a filter stands for
_DAY = "Write the day as 2026-11-24."


class Filter(forms.Form):
    verb = forms.ChoiceField(
        required=False,
        choices=[(verb.value, f"{verb.value}: {verb.sentence}") for verb in Verb],
        error_messages={"invalid_choice": "There is no such verb: choose one from the list."},
    )
    actor = forms.CharField(required=False, max_length=100)
    thing = forms.CharField(required=False, max_length=200)
    since = forms.DateField(required=False, error_messages={"invalid": _DAY})
    until = forms.DateField(required=False, error_messages={"invalid": _DAY})
    before = forms.IntegerField(
        required=False,
        min_value=1,
        error_messages=dict.fromkeys(("invalid", "min_value"), "This page does not exist: start from the newest."),
    )

    def clean_since(self) -> date | None:
        return self._day("since")

    def clean_until(self) -> date | None:
        return self._day("until")

    def _day(self, name: str) -> date | None:
        day: date | None = self.cleaned_data.get(name)
        if day and not days.is_plausible(day):
            raise forms.ValidationError(_DAY)
        return day


@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """List events, the newest first."""
    sees_all(request)
    form = Filter(request.GET)
    context = _seal() | {"form": form, "verbs": form.fields["verb"].choices}  # type: ignore[attr-defined]
    if not form.is_valid():
        return render(request, "audit/audit.html", context | {"lines": [], "now": clock.now()}, status=400)
    asked = form.cleaned_data
    filtered = any(asked[name] for name in ("verb", "actor", "thing", "since", "until"))
    events = _matching(asked)
    if asked["before"]:
        events = events.filter(seq__lt=asked["before"])
    found = list(events.order_by("-seq")[: PAGE + 1])
    context |= {
        "now": clock.now(),
        "lines": record.lines(found[:PAGE], above=asked["before"]),
        "filtered": filtered,
        "before": asked["before"],
        "older": found[PAGE - 1].seq if len(found) > PAGE else None,
    }
    return render(request, "audit/audit.html", context)


@require_safe
def as_file(request: HttpRequest, ending: str) -> HttpResponse:
    """Send events as a CSV or JSON Lines file, times in UTC."""
    sees_all(request)
    form = Filter(request.GET)
    if not form.is_valid():
        return files.refused(form)
    listed, before, now = file_rows.Listed(_matching(form.cleaned_data)), form.cleaned_data["before"], clock.now()
    columns = file_rows.COLUMNS
    return files.answer(request, listed, name="audit", columns=columns, ending=ending, before=before, now=now)


@require_POST
def verify(request: HttpRequest) -> HttpResponse:
    """Verify the chain for a limited time per request; say how far it has come, or the verdict."""
    sees_all(request)
    began, walk = _gone_so_far(request.POST.get("walk", ""))
    came: chain.Walk | chain.Verdict | None = None
    of, trouble = 0, ""
    try:
        came, of = chain.go_on(walk, seconds=GO_ON_SECONDS)
    except (export.HeadKeyError, OSError) as error:
        trouble = f"The exported heads could not be read: {error}"
    context = _seal() | {"now": clock.now(), "trouble": trouble, "took": time.time() - began}
    if isinstance(came, chain.Walk):
        context |= {"walk": signing.dumps([began, came.as_json()], salt=_SALT), "came": came.good, "of": of}
    else:
        context["verdict"] = came
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "audit/audit.html#seal", context)
    form = Filter({})
    found = list(AuditEvent.objects.order_by("-seq")[: PAGE + 1])
    context |= {
        "form": form,
        "verbs": form.fields["verb"].choices,  # type: ignore[attr-defined]
        "lines": record.lines(found[:PAGE]),
        "older": found[PAGE - 1].seq if len(found) > PAGE else None,
    }
    return render(request, "audit/audit.html", context)


def _gone_so_far(walk: str) -> tuple[float, chain.Walk]:
    """Read when a verification began and how far it has come. The state is signed, so that it can't be forged."""
    try:
        began, told = signing.loads(walk, salt=_SALT, max_age=timedelta(hours=1))
        return began, chain.Walk.of_json(told)
    except signing.BadSignature:
        return time.time(), chain.Walk()


def _seal() -> dict[str, Any]:
    head = AuditHead.objects.get()
    first = AuditEvent.objects.order_by("seq").values_list("at", flat=True).first()
    try:
        exported, trouble = export.last_exported(), export.behind()
    except (export.HeadKeyError, OSError) as error:
        exported, trouble = None, f"The exported heads could not be read: {error}"
    return {
        "head": head,
        "head_hash": bytes(head.hash).hex(),
        "first": first,
        "exported": exported,
        "export_trouble": trouble,
        "rows_of_file": f"{files.PART:,}",
    }


def _matching(asked: Mapping[str, Any]) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.all()
    if asked["verb"]:
        events = events.filter(verb=asked["verb"])
    if asked["actor"]:
        events = events.filter(_by(asked["actor"].strip()))
    if asked["thing"]:
        events = events.about(_things(asked["thing"].strip()))
    if asked["since"]:
        events = events.filter(at__gte=days.midnight(asked["since"]))
    if asked["until"]:
        events = events.filter(at__lt=days.midnight(asked["until"] + timedelta(days=1)))
    return events


def _by(actor: str) -> Q:
    """Find the actor: a person by name or as S-3, or a part of Stint, which is in lower case."""
    named = Subject.objects.filter(name__icontains=actor).values_list("pk", flat=True)[:MATCHES]
    return Q(actor__in=[actor, actor.lower(), actor.upper(), *(references.ref("subject", pk) for pk in named)])


def _things(said: str) -> list[tuple[str, int]]:
    """Find the rows that R-17 or a name stands for: people, resources, connections."""
    if named := references.read(said):
        return [named]
    called: dict[str, QuerySet[Any]] = {
        "subject": Subject.objects.filter(name__icontains=said),
        "resource": Resource.objects.filter(having(said), name__icontains=said),
        "connection": Connection.objects.filter(slug__icontains=said),
    }
    return [
        (kind, pk) for kind, rows in called.items() for pk in rows.order_by("pk").values_list("pk", flat=True)[:MATCHES]
    ]
