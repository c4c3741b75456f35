"""Service identities: the workers, CI jobs and agents of a team. They never sign in; the team asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from accounts import roles, typed
from accounts.errors import NotAllowed
from accounts.models import Subject, Team
from accounts.people import one_line
from accounts.sentences import Says
from accounts.signals import changed_by, coming_back, happened

Kind = Subject.Kind


def add(team: Team, name: str, *, by: Subject | str) -> Subject:
    """Add an identity that this team owns. `by` is a person, or "cli" for a command on the portal's machine.

    Raises NotAllowed (not a member, no name, a name that is taken).
    """
    _permit(team, by)
    name = _named(name)
    try:
        with transaction.atomic():
            service = Subject.objects.create(kind=Kind.SERVICE, team=team, name=name)
            _tell("service.added", service, by, {"team": team.pk})
    except IntegrityError as error:
        raise _taken(error, team, name) from error
    service.refresh_from_db()
    return service


def rename(service: Subject, name: str, *, by: Subject) -> Subject:
    """Rename an identity; its grants and tokens stay. Raises NotAllowed."""
    team = _team_of(service)
    _permit(team, by)
    name = _named(name)
    try:
        with transaction.atomic():
            Subject.objects.filter(pk=service.pk).update(name=name)
            _tell("service.renamed", service, by)
    except IntegrityError as error:
        raise _taken(error, team, name) from error
    service.refresh_from_db()
    return service


def switch_off(service: Subject, *, by: Subject) -> Subject:
    """Switch an identity off: the gate refuses it from the next call on, and its grants end. Raises NotAllowed."""
    return _switch(service, active=False, by=by)


def switch_on(service: Subject, *, by: Subject) -> Subject:
    """Switch an identity on again, so that its team can ask for it; its old grants stay closed. Raises NotAllowed."""
    return _switch(service, active=True, by=by)


def owned_by(subject: Subject) -> QuerySet[Subject]:
    """Return the identities for which this person may ask."""
    mine = Team.objects.filter(memberships__subject=subject)
    services = Subject.objects.filter(kind=Kind.SERVICE, team__in=mine) if subject.active else Subject.objects.none()
    return services.select_related("team").order_by("team__slug", "-active", "name", "pk")


def may_manage(team: Team, subject: Subject) -> bool:
    """May this person manage the identity? Members of the owning team and admins of the portal may."""
    return roles.is_admin(subject) or is_member(team.pk, subject)


def is_member(team_id: int | None, subject: Subject) -> bool:
    return team_id is not None and subject.active and subject.memberships.filter(team_id=team_id).exists()


def acts_for(subject: Subject, holder: Subject) -> bool:
    """May this person ask for `holder` and use its access? `holder` is the person, or an identity of their team."""
    if not subject.active:
        return False
    return subject.pk == holder.pk or (holder.kind == Kind.SERVICE and is_member(holder.team_id, subject))


def _switch(service: Subject, *, active: bool, by: Subject) -> Subject:
    _permit(_team_of(service), by)
    verb = "service.switched_on" if active else "service.switched_off"
    with transaction.atomic():
        other = Subject.objects.filter(pk=service.pk).exclude(active=active)
        if other.exists():
            ended = changed_by(coming_back, [service]) if active else []
            if other.update(active=active):
                _tell(verb, service, by, also=ended)
            else:
                transaction.set_rollback(True)  # another action was faster
    service.refresh_from_db()
    return service


def _permit(team: Team, by: Subject | str) -> None:
    if isinstance(by, Subject) and not may_manage(team, by):
        raise NotAllowed(Says.NOT_OF_TEAM, team=team.slug)


def _team_of(service: Subject) -> Team:
    if service.kind != Kind.SERVICE or service.team is None:
        raise NotAllowed(Says.NOT_A_SERVICE, name=service.name)
    return service.team


def _named(name: str) -> str:
    if hidden := typed.hidden_in(name.strip()):
        raise NotAllowed(Says.NAME_HIDES, character=hidden)
    if not typed.seen_in(name):
        raise NotAllowed(Says.NO_NAME)
    return one_line(name)


def _taken(error: IntegrityError, team: Team, name: str) -> Exception:
    if "subject_service_once" not in str(error):
        return error
    return NotAllowed(Says.NAME_TAKEN, team=team.slug, name=name)


def _tell(
    verb: str, service: Subject, by: Subject | str, facts: Mapping[str, int] | None = None, also: Sequence[Model] = ()
) -> None:
    told = {"subject": service.pk, **(facts or {})}
    happened.send(sender=Subject, verb=verb, by=by, subjects=[service, *also], facts=told)
