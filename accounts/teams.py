"""What the provider says of people: their names, teams and portal roles. The one place that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

from accounts import names
from accounts.models import Identity, IdP, Membership, PortalRole, Subject, Team
from accounts.names import Groups

Role = PortalRole.Role
Source = PortalRole.Source


def groups_in(claims: Mapping[str, Any]) -> Groups | None:
    """The groups a token names, or None: it says nothing of groups, so nothing changes."""
    value = claims.get(settings.ENV.oidc_groups_claim)
    if value is None:
        return Groups(frozenset()) if settings.ENV.absent_groups_mean_none else None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        return None
    return read(listed)


def read(listed: Iterable[object]) -> Groups:
    """Group names as this portal's kind of provider writes them, in a claim and in its directory alike."""
    env = settings.ENV
    return names.read_groups(
        listed, paths=env.idp_kind == "keycloak", first=_portals_own(), prefix=env.oidc_team_prefix
    )


def _portals_own() -> set[str]:
    return {settings.ENV.oidc_admin_group, settings.ENV.oidc_auditor_group}


def teams_in(groups: Iterable[str]) -> set[str]:
    """The teams among groups: those with the prefix, without it; the portal's own groups are none."""
    prefix = settings.ENV.oidc_team_prefix
    named = set(groups) - _portals_own() - {prefix}
    return {group.removeprefix(prefix) for group in named if group.startswith(prefix)}


def add_person(
    idp: IdP, external_id: str, *, name: object, email: object, username: object, active: bool = True
) -> Subject:
    """Somebody new, with an identity. The caller records the subject in this transaction."""
    subject = Subject.objects.create(
        kind=Subject.Kind.PERSON, name=line(name) or external_id, email=mail_address(email), active=active
    )
    Identity.objects.create(subject=subject, idp=idp, external_id=external_id, username=user_name(username))
    return subject


def update_person(identity: Identity, *, name: object, email: object, username: object) -> None:
    """Names and addresses follow the provider. They give no right, so they are not in the record."""
    subject = identity.subject
    wanted = {"name": line(name) or subject.name, "email": mail_address(email)}
    if any(getattr(subject, field) != value for field, value in wanted.items()):
        Subject.objects.filter(pk=subject.pk).update(**wanted)
        subject.name, subject.email = wanted["name"], wanted["email"]
    if username is not None and identity.username != user_name(username):
        Identity.objects.filter(pk=identity.pk).update(username=user_name(username))


def user_name(given: object) -> str:
    """What a policy may name somebody by: exactly what the provider says, or nothing. A look-alike is nobody."""
    return given if isinstance(given, str) and not names.odd(given) else ""


def odd_user_name(given: object) -> list[tuple[str, str]]:
    """What names.said() says of a user name that is left out; one that was not sent is not."""
    why = "" if given is None else names.odd(given)
    return [(names.shown(given), why)] if why else []


def line(text: object) -> str:
    """One printable line, to show: a name goes into mail headers and pages. Nothing is compared with it."""
    said = "".join(sign if sign.isprintable() else " " for sign in text) if isinstance(text, str) else ""
    return " ".join(said.split())[: names.NAME_MAX]


def mail_address(text: object) -> str:
    """An address to write to, exactly as it came, or none. RFC 5321: at most 254 characters."""
    fits = isinstance(text, str) and not names.odd(text, 254) and text.count("@") == 1 and " " not in text
    return text if isinstance(text, str) and fits else ""


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
