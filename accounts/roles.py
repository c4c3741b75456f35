"""What a person may see of the portal. Says nothing of any orchestrator."""

from __future__ import annotations

from accounts.models import PortalRole, Subject

Role = PortalRole.Role


def is_admin(subject: Subject) -> bool:
    return subject.active and subject.portal_roles.filter(role=Role.ADMIN).exists()


def is_auditor(subject: Subject) -> bool:
    return subject.active and subject.portal_roles.filter(role=Role.AUDITOR).exists()


def sees_all(subject: Subject) -> bool:
    """Admins and auditors see everything; only admins act."""
    return subject.active and subject.portal_roles.filter(role__in=[Role.ADMIN, Role.AUDITOR]).exists()
