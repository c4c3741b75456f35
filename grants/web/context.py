"""Give the frame of every page what it shows: the person, what waits for them, their theme."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import HttpRequest

from accounts import profile, roles
from accounts.models import Subject
from grants.lifecycle import decide, visibility
from grants.lifecycle.models import Request

THEME_COOKIE = "stint-theme"
THEMES = ("light", "dark")


def theme_of(request: HttpRequest) -> str:
    """Read the chosen theme; empty: that of the system."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


class Shell:
    """What templates show of the person. Read lazily: a fragment or a bare page makes no query."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def person(self) -> Subject | None:
        user = getattr(self._request, "user", None)
        if not isinstance(user, Subject) or not user.is_authenticated:
            return None
        roles.read_once(user)
        return user

    @cached_property
    def here(self) -> str:
        """The name of the current URL."""
        match = self._request.resolver_match
        return (match.url_name or "") if match else ""

    @cached_property
    def waiting(self) -> list[Request]:
        """The requests that this person may decide now, oldest first."""
        return decide.waiting_for(self.person) if self.person else []

    @cached_property
    def live(self) -> int:
        """How many grants this person holds now."""
        return len(visibility.held_by(self.person)) if self.person else 0

    @cached_property
    def sees_all(self) -> bool:
        return bool(self.person and roles.sees_all(self.person))

    @cached_property
    def side_note(self) -> str:
        """The line under the name: the portal role, else teams."""
        if not self.person:
            return ""
        if roles.is_admin(self.person):
            return "Admin"
        if roles.is_auditor(self.person):
            return "Auditor"
        mine = profile.of(self.person)
        return ", ".join(mine.teams[:3] if mine else ()) or "No team"


def shell_of(request: HttpRequest) -> Shell:
    """Keep one Shell per request, so that the page and its frame share what was read."""
    shell: Shell | None = getattr(request, "_shell", None)
    if shell is None:
        shell = Shell(request)
        request._shell = shell  # type: ignore[attr-defined]  # noqa: SLF001
    return shell


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"shell": shell_of(request), "theme": theme_of(request)}
