"""What the frame around every page needs: who is here, what waits for them, which theme they chose."""

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
    """The theme that was chosen; empty: as the system says."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


class Shell:
    """Read lazily by the templates, so that a fragment or a bare page costs no query."""

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
        """The name of the URL that is open."""
        match = self._request.resolver_match
        return (match.url_name or "") if match else ""

    @cached_property
    def waiting(self) -> list[Request]:
        """The requests that this person may decide now, oldest first."""
        return decide.waiting_for(self.person) if self.person else []

    @cached_property
    def live(self) -> int:
        """Grants this person holds now."""
        return len(visibility.held_by(self.person)) if self.person else 0

    @cached_property
    def sees_all(self) -> bool:
        return bool(self.person and roles.sees_all(self.person))

    @cached_property
    def side_note(self) -> str:
        """Under the name: portal role, else teams."""
        if not self.person:
            return ""
        if roles.is_admin(self.person):
            return "Admin"
        if roles.is_auditor(self.person):
            return "Auditor"
        mine = profile.of(self.person)
        return ", ".join(mine.teams[:3] if mine else ()) or "No team"


def shell_of(request: HttpRequest) -> Shell:
    """The one of this request: what its page has judged is not judged again for the frame."""
    shell: Shell | None = getattr(request, "_shell", None)
    if shell is None:
        shell = Shell(request)
        request._shell = shell  # type: ignore[attr-defined]  # noqa: SLF001
    return shell


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"shell": shell_of(request), "theme": theme_of(request)}
