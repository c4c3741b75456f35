"""What the provider says of people: their names, teams and portal roles. The one place that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

from accounts.models import Identity, IdP, Membership, PortalRole, Subject, Team

GROUPS_MAX = 500
NAME_MAX = 200

Role = PortalRole.Role
Source = PortalRole.Source


def groups_in(claims: Mapping[str, Any]) -> frozenset[str] | None:
    """The groups a token names, or None: it says nothing of groups, so nothing changes.

    Groups are cut to a sane number and length; what is not text is left out.
    """
    value = claims.get(settings.ENV.oidc_groups_claim)
    if value is None:
        return frozenset() if settings.ENV.absent_groups_mean_none else None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        return None
    return clean(listed)


def clean(groups: Iterable[object]) -> frozenset[str]:
    """Group names without Keycloak's leading slash, the unusable ones left out."""
    named = [group.removeprefix("/") for group in groups if isinstance(group, str)]
    return frozenset([name for name in named if 0 < len(name) <= NAME_MAX and name.isprintable()][:GROUPS_MAX])


def teams_in(groups: Iterable[str]) -> set[str]:
    """The teams among groups: those with the prefix, without it; the portal's own groups are none."""
    env = settings.ENV
    roles = {env.oidc_admin_group, env.oidc_auditor_group}
    return {
        group.removeprefix(env.oidc_team_prefix)
        for group in groups
        if group.startswith(env.oidc_team_prefix) and group not in roles and group != env.oidc_team_prefix
    }


def add_person(idp: IdP, external_id: str, *, name: str, email: str, username: str, active: bool = True) -> Subject:
    """Somebody new, with an identity. The caller records the subject in this transaction."""
    subject = Subject.objects.create(
        kind=Subject.Kind.PERSON, name=line(name) or external_id, email=mail_address(email), active=active
    )
    Identity.objects.create(subject=subject, idp=idp, external_id=external_id, username=line(username))
    return subject


def update_person(identity: Identity, *, name: str, email: str, username: str) -> None:
    """Names and addresses follow the provider. They give no right, so they are not in the record."""
    subject = identity.subject
    wanted = {"name": line(name) or subject.name, "email": mail_address(email)}
    if any(getattr(subject, field) != value for field, value in wanted.items()):
        Subject.objects.filter(pk=subject.pk).update(**wanted)
        subject.name, subject.email = wanted["name"], wanted["email"]
    if line(username) and identity.username != line(username):
        Identity.objects.filter(pk=identity.pk).update(username=line(username))


def line(text: object) -> str:
    """One printable line: a name goes into mail headers and pages."""
    said = "".join(sign if sign.isprintable() else " " for sign in text) if isinstance(text, str) else ""
    return " ".join(said.split())[:NAME_MAX]


def mail_address(text: object) -> str:
    said = line(text)
    return said if said.count("@") == 1 and " " not in said and len(said) <= 254 else ""  # RFC 5321


def set_teams(subject: Subject, groups: Iterable[str], source: Membership.Source) -> bool:
    """Make the memberships that the provider gives these; those given in the portal stay. True when changed.

    The caller records the subject in this transaction: the gate reads memberships.
    """
    wanted = teams_in(groups)
    given = subject.memberships.exclude(source=Membership.Source.PORTAL)
    gone = given.exclude(team__slug__in=wanted)
    changed = bool(gone.delete()[0])
    had = set(subject.memberships.values_list("team__slug", flat=True))
    for slug in sorted(wanted - had):
        team, _ = Team.objects.get_or_create(slug=slug)
        Membership.objects.create(team=team, subject=subject, source=source)
        changed = True
    return changed


def set_roles(subject: Subject, groups: Iterable[str] | None, external_id: str) -> tuple[list[str], list[str]]:
    """Portal roles by groups (None: the provider says nothing, they stay) and by the settings' first admin.

    Returns the roles given and taken.
    """
    env = settings.ENV
    held = set(subject.portal_roles.values_list("role", "source"))
    wanted = {(role, source) for role, source in held if source == Source.RECOVERY}
    if groups is None:
        wanted |= {(role, source) for role, source in held if source == Source.CLAIM}
    else:
        by_group = {env.oidc_admin_group: Role.ADMIN, env.oidc_auditor_group: Role.AUDITOR}
        wanted |= {(role, Source.CLAIM) for group, role in by_group.items() if group and group in groups}
    if env.first_admin and env.first_admin == external_id:
        wanted.add((Role.ADMIN, Source.SETTINGS))
    for role, source in held - wanted:
        subject.portal_roles.filter(role=role, source=source).delete()
    for role, source in wanted - held:
        PortalRole.objects.create(subject=subject, role=role, source=source)
    return sorted(str(role) for role, _ in wanted - held), sorted(str(role) for role, _ in held - wanted)
