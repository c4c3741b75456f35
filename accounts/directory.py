"""Make the people and teams here what the provider's directory says, so that who never signed in is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from django.db import transaction

from accounts import names, teams
from accounts.clock import StintNow
from accounts.models import Identity, IdP, Membership, Subject
from accounts.signals import changed_by, coming_back, happened

log = structlog.get_logger(__name__)

# Fewer may vanish in an ordinary week; more at once looks like a broken listing.
HELD_SHARE = 0.2
HELD_LEAST = 3


class Listed(Protocol):
    """One person, as a directory lists them."""

    @property
    def external_id(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def groups(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many people came, changed, left; and how many vanished but are held, because they are too many.

    `left_out` says which names were no names (names.odd).
    """

    added: int
    changed: int
    left: int
    held: int
    left_out: str = ""


def apply(idp: IdP, people: Sequence[Listed], *, accept_vanished: bool = False, trouble: str = "") -> Outcome:
    """Follow a complete listing, in one transaction with one event. Whoever vanished from it has left.

    Too many at once are held, and nobody is switched off, until somebody accepts it. `trouble` is what else was
    found there, for the status page.
    """
    with transaction.atomic():
        before = (
            IdP.objects.select_for_update(no_key=True).get(pk=idp.pk).error
        )  # two syncs at once: one after the other
        identities = Identity.objects.select_related("subject").filter(idp=idp).order_by("subject_id")
        known = {identity.external_id: identity for identity in identities}
        listed = {person.external_id: person for person in people if not names.odd(person.external_id, names.ID_MAX)}
        back = [
            identity.subject
            for key, identity in known.items()
            if key in listed and listed[key].enabled and not identity.subject.active
        ]
        ended = changed_by(coming_back, back) if back else []
        added = [_add(idp, person) for key, person in sorted(listed.items()) if key not in known]
        changed = [
            identity.subject for key, identity in known.items() if key in listed and _follow(identity, listed[key])
        ]
        vanished = [
            identity.subject for key, identity in known.items() if key not in listed and identity.subject.active
        ]
        active = sum(identity.subject.active for identity in known.values())
        too_many = len(vanished) >= HELD_LEAST and len(vanished) > HELD_SHARE * active
        held = len(vanished) if too_many and not accept_vanished else 0
        left = [] if held else vanished
        for subject in left:
            _switch(subject, active=False)
        told = f"{held} people vanished at once, so nobody was switched off. Look at the directory." if held else ""
        newly_held = bool(held) and not before.startswith(told)  # told once, not at every sync
        left_out = _left_out(people)
        if left_out and left_out not in before:  # told once, not at every sync
            log.warning("names_left_out", idp=idp.slug, what=left_out)
        error = " ".join(filter(None, [told, trouble, left_out]))
        IdP.objects.filter(pk=idp.pk).update(seen_at=StintNow(), error=error)
        if added or changed or left or newly_held:
            happened.send(
                sender=IdP,
                verb="directory.held" if newly_held else "directory.synced",
                by="sweeper",
                subjects=[*added, *changed, *left, *ended],
                facts={
                    "idp": idp.pk,
                    "added": len(added),
                    "changed": len(changed),
                    "left": len(left),
                    "held": held,
                },
            )
    return Outcome(len(added), len(changed), len(left), held, left_out)


def _left_out(people: Sequence[Listed]) -> str:
    """The names in this listing that are none, in a sentence."""
    return names.said(
        {
            "person": [
                (names.shown(one.external_id), why)
                for one in people
                if (why := names.odd(one.external_id, names.ID_MAX))
            ],
            "user name": [odd for one in people for odd in teams.odd_user_name(one.username)],
            "group": [odd for one in people for odd in teams.read(one.groups).left_out],
        }
    )


def failed(idp: IdP, reason: str) -> None:
    """The directory could not be read: kept for the status page; what is known stays."""
    IdP.objects.filter(pk=idp.pk).update(error=f"{IdP.UNREAD}{reason}")


def _add(idp: IdP, person: Listed) -> Subject:
    subject = teams.add_person(
        idp,
        person.external_id,
        name=person.name,
        email=person.email,
        username=person.username,
        active=person.enabled,
    )
    _groups(subject, person)
    return subject


def _follow(identity: Identity, person: Listed) -> bool:
    """Bring one person up to date; True when something changed that the record is told of."""
    teams.update_person(identity, name=person.name, email=person.email, username=person.username)
    changed = identity.subject.active != person.enabled
    if changed:
        _switch(identity.subject, active=person.enabled)
    return _groups(identity.subject, person) or changed


def _groups(subject: Subject, person: Listed) -> bool:
    groups = teams.read(person.groups).names if person.enabled else frozenset()
    changed = teams.set_teams(subject, groups, Membership.Source.DIRECTORY)
    given, taken = teams.set_roles(subject, groups, person.external_id)
    return changed or bool(given or taken)


def _switch(subject: Subject, *, active: bool) -> None:
    Subject.objects.filter(pk=subject.pk).update(active=active)
    subject.active = active
