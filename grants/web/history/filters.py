"""The filters of the history, as its address has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, override

from django import forms

from grants.catalog.levels import WORDS
from grants.catalog.models import Connection
from grants.lifecycle.read_models import history
from grants.web import days


class Filter(forms.Form):
    """Unknown values are errors, never ignored."""

    person = forms.CharField(required=False, max_length=100)
    q = forms.CharField(required=False, max_length=200)
    state = forms.ChoiceField(required=False, choices=history.STATES.items)
    level = forms.ChoiceField(required=False, choices=[(word, word) for word in WORDS])
    connection = forms.ChoiceField(required=False)
    environment = forms.ChoiceField(required=False)
    since = forms.DateField(required=False)
    until = forms.DateField(required=False)
    before = forms.IntegerField(required=False, min_value=1)
    after = forms.IntegerField(required=False, min_value=0)

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        rows = list(Connection.objects.order_by("slug").values_list("slug", "environment"))
        self.connections = [slug for slug, _ in rows]
        self.environments = sorted({environment for _, environment in rows})
        _choices(self, "connection", self.connections)
        _choices(self, "environment", self.environments)
        for name, message in _MESSAGES.items():
            field = self.fields[name]
            field.error_messages |= dict.fromkeys(("invalid", "invalid_choice", "min_value", "max_value"), message)

    @override
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in ("since", "until"):
            day = cleaned.get(name)
            if day and not days.is_plausible(day):
                self.add_error(name, _MESSAGES[name])
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", "The last day is before the first: swap the two.")
        return cleaned

    def filters(self) -> history.Filters:
        """What a valid form asks for. Days are those of the active time zone."""
        asked = self.cleaned_data
        chosen = {name: asked[name] for name in ("person", "q", "state", "level", "connection", "environment")}
        since, until = asked["since"], asked["until"]
        return history.Filters(
            **chosen,
            since=days.midnight(since) if since else None,
            until=days.midnight(until + timedelta(days=1)) if until else None,
        )


def _choices(form: forms.Form, name: str, values: Iterable[str]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices = [(value, value) for value in values]


_MESSAGES = {
    "state": "There is no such state: choose one from the list.",
    "level": "There is no such level: choose one from the list.",
    "connection": "There is no such connection: choose one from the list.",
    "environment": "There is no such environment: choose one from the list.",
    "since": "Write the day as 2026-11-24.",
    "until": "Write the day as 2026-11-24.",
    "before": "This page of the history does not exist: start again from the newest.",
    "after": "This page of the history does not exist: start again from the newest.",
}
