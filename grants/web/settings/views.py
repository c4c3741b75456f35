"""Change the time zone and the theme."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from accounts.models import Subject
from accounts.preferences import choose_time_zone
from grants import clock
from grants.web.context import THEME_COOKIE, theme_of
from grants.web.middleware import zones

THEMES = [("", "As the system"), ("light", "Light"), ("dark", "Dark")]


class SettingsForm(forms.Form):
    time_zone = forms.CharField(required=False, max_length=64)
    theme = forms.ChoiceField(required=False, choices=THEMES)

    def clean_time_zone(self) -> str:
        """Find the zone in any case; empty: the browser's."""
        typed = self.cleaned_data["time_zone"].strip().replace(" ", "_")
        if not typed:
            return ""
        for name in zones():
            if name.lower() == typed.lower():
                return name
        raise forms.ValidationError("There is no such zone. Write it like Europe/Berlin, or leave the field empty.")


@cache
def _options() -> SafeString:
    return format_html_join("", '<option value="{}"></option>', ((name,) for name in sorted(zones())))


@require_http_methods(["GET", "POST"])
def settings_page(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, Subject)
    before = {"time_zone": request.user.time_zone, "theme": theme_of(request)}
    form = SettingsForm(request.POST) if request.method == "POST" else SettingsForm(initial=before)
    if form.is_bound and form.is_valid():
        choose_time_zone(request.user, form.cleaned_data["time_zone"])
        messages.success(request, "Saved.")
        response = redirect("settings")
        response.set_cookie(
            THEME_COOKIE,
            form.cleaned_data["theme"],
            max_age=timedelta(days=365),
            samesite="Lax",
            secure=request.is_secure(),
        )
        return response
    context = {
        "form": form,
        "zones": _options(),
        "in_use": timezone.get_current_timezone_name(),
        "now": clock.of_page(),
    }
    return render(request, "settings/settings.html", context, status=422 if form.errors else 200)
