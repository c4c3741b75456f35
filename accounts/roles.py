"""The portal roles of a person. They give no right at any orchestrator."""

from __future__ import annotations

from accounts.models import PortalRole, Subject

Role = PortalRole.Role


def held(subject: Subject) -> frozenset[str]:
    """Return the portal roles of a subject; none when it is switched off."""
    if not subject.active:
        return frozenset()
    known: frozenset[str] | None = getattr(subject, "_roles_of_this_request", None)
    return frozenset(subject.portal_roles.values_list("role", flat=True)) if known is None else known


def read_once(subject: Subject) -> None:
    """Read the roles of the person who makes a request once, instead of at each question of its page."""
    if not hasattr(subject, "_roles_of_this_request"):
        subject._roles_of_this_request = held(subject)  # type: ignore[attr-defined]  # noqa: SLF001


def is_admin(subject: Subject) -> bool:
    return Role.ADMIN in held(subject)


def is_auditor(subject: Subject) -> bool:
    return Role.AUDITOR in held(subject)


def sees_all(subject: Subject) -> bool:
    """May this person see everything? Admins and auditors may; only admins can act."""
    return bool(held(subject) & {Role.ADMIN, Role.AUDITOR})
