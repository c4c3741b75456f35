"""What the portal knows of a person besides their row: roles, teams and identity at the provider, in one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from accounts.clock import StintNow
from accounts.models import Identity, Membership, PortalRole, Subject
from accounts.request_cache import once_per_request, remember
from accounts.written import Written, a_row


class Profile(NamedTuple):
    roles: frozenset[str]
    teams: tuple[str, ...]  # slugs, sorted
    idp: str  # slug; "" for a person without an identity
    external_id: str


_more: dict[str, Callable[[], QuerySet[Any, Any]]] = {}


def read_with_person(key: str, rows: Callable[[], QuerySet[Any, Any]]) -> None:
    """Let signed_in_person() read the one value of these rows, too, for once_per_request(`key`).

    Packages above accounts register here what every page asks for, so that it costs no query of its own.
    """
    _more[key] = rows


def signed_in_person(pk: int) -> Subject | None:
    """Return the person of a session, and remember their profile; None for people who left or are switched off.

    Also None for service identities, which have no sessions.
    """
    found, profile = _read(pk)
    if found and profile:
        remember(("profile", pk), profile)
        remember("now", found.read_at)
        for number, key in enumerate(_more):
            remember(key, getattr(found, f"more_{number}"))
        found._roles_of_this_request = profile.roles  # noqa: SLF001
    subject: Subject | None = found
    return subject


def of(subject: Subject) -> Profile | None:
    """Return the profile as it is now; None for people who are switched off and for service identities."""
    return once_per_request(("profile", subject.pk), lambda: _read(subject.pk)[1])


def _read(pk: int) -> tuple[Any, Profile | None]:
    subject: Any = next(iter(_people(pk=pk)), None)
    if subject is None:
        return None, None
    first = subject.profile_identity[0] if subject.profile_identity else {"idp": "", "external_id": ""}
    return subject, Profile(frozenset(subject.profile_roles), tuple(subject.profile_teams), **first)


@Written
def _people() -> QuerySet[Subject]:
    mine: dict[str, Any] = {"subject": OuterRef("pk")}
    identity = JSONObject(idp="idp__slug", external_id="external_id")
    return Subject.objects.filter(pk=a_row("pk"), active=True, kind=Subject.Kind.PERSON).annotate(
        profile_roles=ArraySubquery(PortalRole.objects.filter(**mine).values("role")),
        profile_teams=ArraySubquery(Membership.objects.filter(**mine).order_by("team__slug").values("team__slug")),
        read_at=StintNow(),
        profile_identity=ArraySubquery(Identity.objects.filter(**mine).order_by("pk").values(at=identity)[:1]),
        **{f"more_{number}": Subquery(rows()) for number, rows in enumerate(_more.values())},
    )
