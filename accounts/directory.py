"""Bring people and teams in line with the provider's directory, so that people who never signed in are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import structlog
from django.db import transaction

from accounts import names, people
from accounts.clock import StintNow
from accounts.idp import row_of
from accounts.models import Identity, IdP, Membership, Subject
from accounts.signals import changed_by, coming_back, happened
from grants.adapters.idp.kinds import ProviderSettings
from grants.adapters.listings import looks_broken

log = structlog.get_logger(__name__)

HELD_FROM = 3  # people who vanish at once; fewer may leave in an ordinary week (listings.looks_broken)


class ListedPerson(people.ProviderPerson, Protocol):
    """A person as a provider lists them, with their groups."""

    @property
    def groups(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class DirectoryChanges:
    """How many people were added, changed and left, and how many are held because too many vanished at once.

    `left_out` is a sentence on the names that cannot be used (names.odd).
    """

    added: int
    changed: int
    left: int
    held: int
    left_out: str = ""


def apply_listing(
    chosen: ProviderSettings,
    listing: Sequence[ListedPerson],
    *,
    accept_vanished: bool = False,
    trouble: str = "",
) -> DirectoryChanges:
    """Apply a complete listing of this provider, in one transaction with one event: people who vanished from it left.

    When too many vanish at once they are held: nobody is switched off until an admin accepts it (`accept_vanished`).
    `trouble` is what else the sync found, for the status page. Only rows that differ are written.
    """
    with transaction.atomic():
        idp = row_of(chosen)
        before = IdP.objects.select_for_update(no_key=True).get(pk=idp.pk).error  # listings queue here
        step = _Comparison(chosen, idp, listing)
        held = len(step.vanished) if step.too_many and not accept_vanished else 0
        left = [] if held else step.vanished
        # Lock order: grants, then subjects by id. Receivers of coming_back lock grants, so it is sent first.
        back = Subject.objects.filter(pk__in=step.switched(on=True)).order_by("pk")
        ended = changed_by(coming_back, list(back)) if step.switched(on=True) else []
        added = step.add()
        changed = step.follow(left)
        told = f"{held} people vanished at once, so nobody was switched off. Look at the directory." if held else ""
        newly_held = bool(held) and not before.startswith(told)  # recorded once, not at every sync
        left_out = _left_out(listing, step.entitlements)
        if left_out and left_out not in before:  # logged once, not at every sync
            log.warning("names_left_out", idp=idp.slug, what=left_out)
        error = " ".join(filter(None, [told, trouble, left_out]))
        IdP.objects.filter(pk=idp.pk).update(seen_at=StintNow(), error=error)
        outcome = DirectoryChanges(len(added), len(changed) - len(left), len(left), held, left_out)
        if added or changed or newly_held:
            happened.send(
                sender=IdP,
                verb="directory.held" if newly_held else "directory.synced",
                by="sweeper",
                subjects=[*added, *changed, *ended],
                facts={
                    "idp": idp.pk,
                    "added": outcome.added,
                    "changed": outcome.changed,
                    "left": outcome.left,
                    "held": held,
                },
            )
    return outcome


class _KnownPerson(NamedTuple):
    """The stored values of a person with an identity at this provider."""

    external_id: str
    identity: int
    subject: int
    username: str
    name: str
    email: str
    active: bool


class _Comparison:
    """A listing compared with the stored people; each is read once."""

    def __init__(self, chosen: ProviderSettings, idp: IdP, listing: Sequence[ListedPerson]) -> None:
        self.chosen = chosen
        self.idp = idp
        self.listed = {one.external_id: one for one in listing if not names.odd(one.external_id, names.ID_MAX)}
        rows = Identity.objects.filter(idp=idp).values_list(
            "external_id", "pk", "subject_id", "username", "subject__name", "subject__email", "subject__active"
        )
        self.known = {row[0]: _KnownPerson(*row) for row in rows}
        self.there = [(self.known[key], one) for key, one in self.listed.items() if key in self.known]
        self.vanished = [one.subject for key, one in self.known.items() if key not in self.listed and one.active]
        self.entitlements = {key: people.entitlements(one.groups, chosen) for key, one in self.listed.items()}

    @property
    def too_many(self) -> bool:
        active = len(self.vanished) + sum(listed.enabled for _, listed in self.there)
        return looks_broken(len(self.vanished), active, at_least=HELD_FROM)

    def switched(self, *, on: bool) -> list[int]:
        return [known.subject for known, one in self.there if known.active != one.enabled and one.enabled == on]

    def add(self) -> list[Subject]:
        new = [one for key, one in sorted(self.listed.items()) if key not in self.known]
        subjects = people.add_people(self.idp, new)
        self._apply({subject.pk: one for subject, one in zip(subjects, new, strict=True)})
        return subjects

    def follow(self, left: Sequence[int]) -> list[Subject]:
        """Update the known people and switch off those who left. Returns the subjects that the event names."""
        there = {known.subject: one for known, one in self.there}
        changes = self._row_changes(there)
        switched = {*self.switched(on=True), *self.switched(on=False), *left}
        changed = switched | changes[0].subjects | changes[1].subjects
        renamed = [known for known in self.there if people.differs(*known)]
        ids = changed | {known.subject for known, _ in renamed}
        if not ids:
            return []
        locked = Subject.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
        subjects = {subject.pk: subject for subject in locked}
        people.update_people(renamed)
        for on in (True, False):
            if its := self.switched(on=on) + ([] if on else [*left]):
                Subject.objects.filter(pk__in=its).update(active=on)
        people.apply_team_changes(changes[0], Membership.Source.DIRECTORY)
        people.apply_role_changes(changes[1])
        return [subjects[pk] for pk in sorted(changed)]

    def _apply(self, listed: Mapping[int, ListedPerson]) -> None:
        for_teams, for_roles = self._row_changes(listed)
        people.apply_team_changes(for_teams, Membership.Source.DIRECTORY)
        people.apply_role_changes(for_roles)

    def _row_changes(
        self, listed: Mapping[int, ListedPerson]
    ) -> tuple[people.RowChanges[str], people.RowChanges[tuple[str, str]]]:
        """The changes of teams and roles for these subjects. A person who is switched off there is in no team."""
        if not listed:
            return people.RowChanges({}, []), people.RowChanges({}, [])
        nothing = people.Entitlements(frozenset(), frozenset())
        has = {pk: self.entitlements[one.external_id] if one.enabled else nothing for pk, one in listed.items()}
        first = {pk: people.is_first_admin(one.external_id, self.chosen) for pk, one in listed.items()}
        return (
            people.team_changes({pk: its.teams for pk, its in has.items()}),
            people.role_changes({pk: (its.roles, first[pk]) for pk, its in has.items()}),
        )


def _left_out(listing: Sequence[ListedPerson], entitlements: Mapping[str, people.Entitlements]) -> str:
    """A sentence on the names in this listing that cannot be used."""
    return names.said(
        {
            "person": [
                (names.shown(one.external_id), why)
                for one in listing
                if (why := names.odd(one.external_id, names.ID_MAX))
            ],
            "user name": [odd for one in listing for odd in people.odd_user_name(one.username)],
            "group": [odd for its in entitlements.values() for odd in its.left_out],
        }
    )


def record_failure(idp: IdP, reason: str) -> None:
    """Keep for the status page that the directory could not be read; people and teams stay as they are."""
    IdP.objects.filter(pk=idp.pk).update(error=f"{IdP.UNREAD}{reason}")
