"""Validate the request form field by field. Whether it may be asked is decided in lifecycle.ask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django import forms
from django.http import QueryDict

from accounts.models import Subject
from grants.catalog.levels import LEVELS_OF
from grants.catalog.models import Resource
from grants.lifecycle import visibility
from grants.lifecycle.ask import ITEMS_MAX, REASON_MAX

LENGTHS = (30, 60, 120, 240, 480, 1440)  # in minutes, offered as pills
LONGEST_MINUTES = 366 * 24 * 60
_ITEM = re.compile(r"([0-9]{1,18})(?::([a-z]{1,12}))?")


@dataclass(slots=True)
class Pick:
    """One resource in the form and its chosen level; "" before a choice."""

    resource: Resource
    level: str

    @property
    def field(self) -> str:
        return f"level-{self.resource.pk}"


class Items:
    """Read the `item` parameters; `level-<id>` fields override them, then `add` and `drop` apply.

    A refusal at the gate may call one thing by `connection`, `kind`, `name` and `level` instead: who may not see it
    learns no more here than there.
    """

    def __init__(self, data: QueryDict, me: Subject) -> None:
        self.errors: list[str] = []
        wanted = dict([*self._read(data), *self._named(data, me)])
        if len(wanted) > ITEMS_MAX:
            self.errors.append(f"A request holds {ITEMS_MAX} items at most; the rest was left out.")
        found = visibility.resources_of(me, list(wanted)[:ITEMS_MAX])
        if missing := len(list(wanted)[:ITEMS_MAX]) - len(found):
            one = "One resource was" if missing == 1 else f"{missing} resources were"
            self.errors.append(f"{one} left out: not in the catalog, or not yours to see.")
        self.picks = [Pick(found[pk], level) for pk, level in wanted.items() if pk in found]
        for pick in self.picks:
            if pick.level and pick.level not in {level.word for level in LEVELS_OF[pick.resource.kind]}:
                self.errors.append(f"{pick.resource.name} has no level “{pick.level}”: choose one below.")
                pick.level = ""

    def _read(self, data: QueryDict) -> Iterable[tuple[int, str]]:
        dropped = data.get("drop", "")
        for text in [*data.getlist("item"), *data.getlist("add")]:
            match = _ITEM.fullmatch(text)
            if match is None:
                self.errors.append("An item in the address makes no sense and was left out.")
            elif match[1] != dropped:
                yield int(match[1]), data.get(f"level-{match[1]}", match[2] or "")

    def _named(self, data: QueryDict, me: Subject) -> Iterable[tuple[int, str]]:
        if "name" in data:
            at, kind, name = (data.get(key, "") for key in ("connection", "kind", "name"))
            named = {"connection__slug": at, "kind": kind, "name": name}
            sayable = "\x00" not in at + kind + name  # which no text in the database has
            found = visibility.visible_resources(me).filter(**named, retired_at=None).first() if sayable else None
            if found is not None:
                yield found.pk, data.get("level", "")
            else:
                self.errors.append("One resource was left out: not in the catalog, or not yours to see.")


class AskForm(forms.Form):
    """The duration, the reason, and the key by which a repeated submission is one request."""

    length = forms.RegexField(
        r"^([0-9]{1,6}|other|until)$",
        required=False,
        error_messages={"invalid": "Choose one of the lengths."},
    )
    minutes = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LONGEST_MINUTES,
        error_messages={
            "invalid": "Write whole minutes, like 45.",
            "min_value": "Write one minute or more.",
            "max_value": "That is longer than a year.",
        },
    )
    until = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"],
        error_messages={"invalid": "Write it like 2026-11-24 18:30."},
    )
    reason = forms.CharField(
        required=False,
        strip=True,
        max_length=REASON_MAX,
        error_messages={"max_length": "%(limit_value)d characters at most; this has %(show_value)d."},
    )
    key = forms.RegexField(r"^[0-9a-f]{32}$", required=False)

    def duration(self, now: datetime) -> timedelta | None:
        """The duration asked for; None: nothing chosen, or something invalid, which is an error on the form."""
        chosen = self.cleaned_data.get("length") or ""
        if chosen == "other":
            minutes = self.cleaned_data.get("minutes")
            if minutes is None and not self.errors.get("minutes"):
                self.add_error("minutes", "Write how many minutes.")
            return timedelta(minutes=minutes) if minutes else None
        if chosen == "until":
            return self._until(now)
        minutes = int(chosen or 0)
        if minutes > LONGEST_MINUTES:
            self.add_error("length", "That is longer than a year.")
            return None
        return timedelta(minutes=minutes) if minutes else None

    def _until(self, now: datetime) -> timedelta | None:
        until = self.cleaned_data.get("until")
        if until is None:
            if not self.errors.get("until"):
                self.add_error("until", "Write until when, in your time.")
            return None
        # Rounded up to the second, so that the promised end reads as what was typed.
        rest = timedelta(seconds=-((now - until) // timedelta(seconds=1)))
        if rest < timedelta(minutes=1):
            self.add_error("until", "That is over already: choose a later time.")
            return None
        if rest > timedelta(minutes=LONGEST_MINUTES):
            self.add_error("until", "That is more than a year away.")
            return None
        return rest


def new_key() -> str:
    return uuid4().hex
