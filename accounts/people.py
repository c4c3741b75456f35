"""Write what the provider says about people: their names, teams and portal roles. No other module writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from django.db import connection
from django.db.models import Manager, QuerySet

from accounts import names
from accounts.models import Identity, IdP, Membership, PortalRole, Subject, Team
from grants.adapters.idp.kinds import ProviderSettings

Role = PortalRole.Role


class ProviderPerson(Protocol):
    """A person as a provider lists them."""

    @property
    def external_id(self) -> str: ...
    @property
    def username(self) -> object: ...
    @property
    def name(self) -> object: ...
    @property
    def email(self) -> object: ...
    @property
    def enabled(self) -> bool: ...


class StoredPerson(Protocol):
    """A person as they are stored here."""

    @property
    def identity(self) -> int: ...
    @property
    def subject(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...


class Entitlements(NamedTuple):
    """The teams and portal roles that a person gets from their groups."""

    teams: frozenset[str]
    roles: frozenset[Role]
    left_out: tuple[tuple[str, str], ...] = ()  # unusable groups with the reason, for names.said()


def entitlements_in(claims: Mapping[str, Any], provider: ProviderSettings) -> Entitlements | None:
    """Read them from the claims of a token; None when they do not mention groups, so nothing changes."""
    value = claims.get(provider.groups_claim)
    if value is None:
        return Entitlements(frozenset(), frozenset()) if provider.absent_groups_mean_none else None
    listed = [value] if isinstance(value, str) else value
    return entitlements(listed, provider) if isinstance(listed, list) else None


def entitlements(listed: Iterable[object], provider: ProviderSettings) -> Entitlements:
    """Read them from groups, written as this provider writes them in claims and in its directory.

    Groups with the prefix are teams, whose names are the rest. The groups of portal roles are not teams.
    """
    role_of = {provider.admin_group: Role.ADMIN, provider.auditor_group: Role.AUDITOR}
    prefix = provider.team_prefix
    read = names.read_groups(listed, paths=provider.can.group_paths, first=role_of, prefix=prefix)
    teams = read.names - role_of.keys() - {prefix}
    return Entitlements(
        frozenset(group.removeprefix(prefix) for group in teams if group.startswith(prefix)),
        frozenset(role for group, role in role_of.items() if group and group in read.names),
        read.left_out,
    )


def is_first_admin(external_id: str, provider: ProviderSettings) -> bool:
    """Do the settings of the provider name this person as the first admin?"""
    return bool(provider.first_admin) and provider.first_admin == external_id


def add_person(
    idp: IdP, external_id: str, *, name: object, email: object, username: object, active: bool = True
) -> Subject:
    """Add a person with an identity. The caller records the subject in this transaction."""
    subject = Subject.objects.create(
        kind=Subject.Kind.PERSON, name=one_line(name) or external_id, email=mail_address(email), active=active
    )
    Identity.objects.create(subject=subject, idp=idp, external_id=external_id, username=user_name(username))
    return subject


def add_people(idp: IdP, people: Sequence[ProviderPerson]) -> list[Subject]:
    """Add several people at once, as add_person does. The caller has checked their external ids."""
    if not people:
        return []
    subjects = Subject.objects.bulk_create(
        [
            Subject(
                kind=Subject.Kind.PERSON,
                name=one_line(one.name) or one.external_id,
                email=mail_address(one.email),
                active=one.enabled,
            )
            for one in people
        ]
    )
    identities = [
        Identity(subject=subject, idp=idp, external_id=one.external_id, username=user_name(one.username))
        for subject, one in zip(subjects, people, strict=True)
    ]
    Identity.objects.bulk_create(identities)
    return subjects


def update_person(identity: Identity, *, name: object, email: object, username: object) -> None:
    """Update name and address from the provider. They give no right, so they are not in the record."""
    subject = identity.subject
    wanted = {"name": one_line(name) or subject.name, "email": mail_address(email)}
    if any(getattr(subject, field) != value for field, value in wanted.items()):
        Subject.objects.filter(pk=subject.pk).update(**wanted)
        subject.name, subject.email = wanted["name"], wanted["email"]
    if username is not None and identity.username != user_name(username):
        Identity.objects.filter(pk=identity.pk).update(username=user_name(username))


def differs(known: StoredPerson, one: ProviderPerson) -> bool:
    """Does the listed person have another name or address than the stored one?"""
    now = one_line(one.name) or known.name, mail_address(one.email), _username(known, one)
    return now != (known.name, known.email, known.username)


def update_people(renamed: Sequence[tuple[StoredPerson, ProviderPerson]]) -> None:
    """Update several people at once, as update_person does; the caller has locked the subjects."""
    if not renamed:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_subject s SET name = v.name, email = v.email"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[]) v (id, name, email) WHERE s.id = v.id",
            [
                [known.subject for known, _ in renamed],
                [one_line(one.name) or known.name for known, one in renamed],
                [mail_address(one.email) for _, one in renamed],
            ],
        )
        cursor.execute(
            "UPDATE accounts_identity i SET username = v.username"
            " FROM unnest(%s::bigint[], %s::text[]) v (id, username) WHERE i.id = v.id AND i.username <> v.username",
            [[known.identity for known, _ in renamed], [_username(*each) for each in renamed]],
        )


def _username(known: StoredPerson, one: ProviderPerson) -> str:
    return known.username if one.username is None else user_name(one.username)


def user_name(given: object) -> str:
    """The name by which a policy may name the person: exactly the provider's, or "" when it cannot be used."""
    return given if isinstance(given, str) and not names.odd(given) else ""


def odd_user_name(given: object) -> list[tuple[str, str]]:
    """The entries for names.said() about a user name that is left out; none when the provider sent no name."""
    why = "" if given is None else names.odd(given)
    return [(names.shown(given), why)] if why else []


def one_line(text: object) -> str:
    """Return the text as one printable line, for pages and mail headers. Nothing is compared with it."""
    said = "".join(sign if sign.isprintable() else " " for sign in text) if isinstance(text, str) else ""
    return " ".join(said.split())[: names.NAME_MAX]


def mail_address(text: object) -> str:
    """Return the e-mail address exactly as it came, or "" when it cannot be used. At most 254 characters (RFC 5321)."""
    fits = isinstance(text, str) and not names.odd(text, 254) and text.count("@") == 1 and " " not in text
    return text if isinstance(text, str) and fits else ""


def set_teams(subject: Subject, teams: Collection[str], source: Membership.Source) -> bool:
    """Set the memberships that the provider gives; those given in the portal stay. Returns whether they changed.

    The caller records the subject in this transaction, because the gate reads memberships.
    """
    changes = team_changes({subject.pk: teams})
    apply_team_changes(changes, source)
    return bool(changes.subjects)


def set_roles(subject: Subject, roles: Collection[Role] | None, *, first_admin: bool) -> tuple[list[str], list[str]]:
    """Set the portal roles from groups (None: unknown, so they stay) and the role of the settings' first admin.

    Returns the roles given and the roles taken.
    """
    changes = role_changes({subject.pk: (roles, first_admin)})
    apply_role_changes(changes)
    given, taken = ({role for _, (role, _) in its} for its in (changes.new, changes.gone.values()))
    return sorted(map(str, given)), sorted(map(str, taken))


class RowChanges[What](NamedTuple):
    """The changes for several subjects: rows to delete, by id, and rows to add."""

    gone: dict[int, tuple[int, What]]  # row -> subject, what
    new: list[tuple[int, What]]

    @property
    def subjects(self) -> set[int]:
        return {subject for subject, _ in (*self.gone.values(), *self.new)}


def team_changes(teams: Mapping[int, Collection[str]]) -> RowChanges[str]:
    """Find what set_teams would change for these subjects, with one read."""
    wanted = {(subject, slug) for subject, slugs in teams.items() for slug in slugs}
    rows = _of(Membership.objects, teams).values_list("pk", "subject_id", "team__slug", "source")
    had = {(subject, slug): (pk, source) for pk, subject, slug, source in rows}
    gone = {
        pk: (subject, slug)
        for (subject, slug), (pk, source) in had.items()
        if source != Membership.Source.PORTAL and (subject, slug) not in wanted
    }
    return RowChanges(gone, sorted(wanted - had.keys()))


def apply_team_changes(changes: RowChanges[str], source: Membership.Source) -> None:
    """Make these changes. A row that a sign-in has just added or deleted is no error."""
    if changes.gone:
        Membership.objects.filter(pk__in=changes.gone).delete()
    if changes.new:
        slugs = sorted({slug for _, slug in changes.new})
        Team.objects.bulk_create([Team(slug=slug) for slug in slugs], ignore_conflicts=True)
        teams = dict(Team.objects.filter(slug__in=slugs).values_list("slug", "pk"))
        rows = [Membership(team_id=teams[slug], subject_id=subject, source=source) for subject, slug in changes.new]
        Membership.objects.bulk_create(rows, ignore_conflicts=True)


def role_changes(roles: Mapping[int, tuple[Collection[Role] | None, bool]]) -> RowChanges[tuple[str, str]]:
    """Find what set_roles would change for these subjects, with one read; each value has set_roles' arguments."""
    rows = _of(PortalRole.objects, roles).values_list("pk", "subject_id", "role", "source")
    had = {(subject, (role, source)): pk for pk, subject, role, source in rows}
    wanted = {(subject, (role, source)) for subject, (role, source) in had if source == PortalRole.Source.RECOVERY}
    silent = {subject for subject, (by_group, _) in roles.items() if by_group is None}
    wanted |= {
        (who, (role, source)) for who, (role, source) in had if who in silent and source == PortalRole.Source.CLAIM
    }
    for subject, (by_group, first_admin) in roles.items():
        wanted |= {(subject, (role, PortalRole.Source.CLAIM)) for role in by_group or ()}
        if first_admin:
            wanted.add((subject, (Role.ADMIN, PortalRole.Source.SETTINGS)))
    return RowChanges({had[key]: key for key in had.keys() - wanted}, sorted(wanted - had.keys()))


def apply_role_changes(changes: RowChanges[tuple[str, str]]) -> None:
    """Make these changes, as apply_team_changes does."""
    if changes.gone:
        PortalRole.objects.filter(pk__in=changes.gone).delete()
    if changes.new:
        rows = [PortalRole(subject_id=subject, role=role, source=source) for subject, (role, source) in changes.new]
        PortalRole.objects.bulk_create(rows, ignore_conflicts=True)


def _of[Row: Membership | PortalRole](rows: Manager[Row], subjects: Iterable[int]) -> QuerySet[Row]:
    """Filter for these subjects with one query parameter, however many they are."""
    return rows.extra(where=["subject_id = ANY (%s)"], params=[list(subjects)])
