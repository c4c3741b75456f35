"""What is known of a person beside their row: portal roles, teams, who they are at their provider. One query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from accounts.clock import StintNow
from accounts.models import Identity, Membership, PortalRole, Subject
from accounts.once import keep, once
from accounts.written import Written, a_row


class Known(NamedTuple):
    roles: frozenset[str]
    teams: tuple[str, ...]  # slugs, in their order
    idp: str  # slug; "" for who is at no provider
    external_id: str


_besides: dict[str, Callable[[], QuerySet[Any, Any]]] = {}


def read_besides(what: str, rows: Callable[[], QuerySet[Any, Any]]) -> None:
    """Read the one value of these rows with who calls, from now on, as what once(`what`) answers: for rooms above."""
    _besides[what] = rows


def who_calls(pk: int) -> Subject | None:
    """The person of a session, with what a page asks of them; None for who left or was switched off, and machines."""
    found, known = _read(pk)
    if found and known:
        keep(("known", pk), known)
        keep("now", found.read_at)
        for number, what in enumerate(_besides):
            keep(what, getattr(found, f"beside_{number}"))
        found._roles_of_this_request = known.roles  # noqa: SLF001
    subject: Subject | None = found
    return subject


def of(subject: Subject) -> Known | None:
    """As it is now; None for who is switched off, and machines."""
    return once(("known", subject.pk), lambda: _read(subject.pk)[1])


def _read(pk: int) -> tuple[Any, Known | None]:
    subject: Any = next(iter(_people(who=pk)), None)
    if subject is None:
        return None, None
    first = subject.known_at[0] if subject.known_at else {"idp": "", "external_id": ""}
    return subject, Known(frozenset(subject.known_roles), tuple(subject.known_teams), **first)


@Written
def _people() -> QuerySet[Subject]:
    mine: dict[str, Any] = {"subject": OuterRef("pk")}
    at = JSONObject(idp="idp__slug", external_id="external_id")
    return Subject.objects.filter(pk=a_row("who"), active=True, kind=Subject.Kind.PERSON).annotate(
        known_roles=ArraySubquery(PortalRole.objects.filter(**mine).values("role")),
        known_teams=ArraySubquery(Membership.objects.filter(**mine).order_by("team__slug").values("team__slug")),
        read_at=StintNow(),
        known_at=ArraySubquery(Identity.objects.filter(**mine).order_by("pk").values(at=at)[:1]),
        **{f"beside_{number}": Subquery(rows()) for number, rows in enumerate(_besides.values())},
    )
