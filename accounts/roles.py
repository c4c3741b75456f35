"""What a person may see of the portal. Says nothing of any orchestrator."""

from __future__ import annotations

from accounts.models import PortalRole, Subject

Role = PortalRole.Role


def held(subject: Subject) -> frozenset[str]:
    """The portal roles of somebody who is active."""
    if not subject.active:
        return frozenset()
    known: frozenset[str] | None = getattr(subject, "_roles_of_this_request", None)
    return frozenset(subject.portal_roles.values_list("role", flat=True)) if known is None else known


def read_once(subject: Subject) -> None:
    """Ask the database for the roles of who makes a request once, not at each question of its page."""
    if not hasattr(subject, "_roles_of_this_request"):
        subject._roles_of_this_request = held(subject)  # type: ignore[attr-defined]  # noqa: SLF001


def is_admin(subject: Subject) -> bool:
    return Role.ADMIN in held(subject)


def is_auditor(subject: Subject) -> bool:
    return Role.AUDITOR in held(subject)


def sees_all(subject: Subject) -> bool:
    """Admins and auditors see everything; only admins act."""
    return bool(held(subject) & {Role.ADMIN, Role.AUDITOR})
