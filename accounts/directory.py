"""Make the people and teams here what the provider's directory says, so that who never signed in is known."""

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

log = structlog.get_logger(__name__)

# Fewer may vanish in an ordinary week; more at once looks like a broken listing.
HELD_SHARE = 0.2
HELD_LEAST = 3


class Listed(people.Named, Protocol):
    """The same, with their groups."""

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


def apply(
    chosen: ProviderSettings,
    listing: Sequence[Listed],
    *,
    accept_vanished: bool = False,
    trouble: str = "",
) -> Outcome:
    """Follow a complete listing of this provider, in one transaction with one event. Whoever vanished from it has left.

    Too many at once are held, and nobody is switched off, until somebody accepts it. `trouble` is what else was
    found there, for the status page. Everything is read once and compared here; only what differs is written.
    """
    with transaction.atomic():
        idp = row_of(chosen)
        before = IdP.objects.select_for_update(no_key=True).get(pk=idp.pk).error  # one listing after the other
        step = _Step(chosen, idp, listing)
        held = len(step.vanished) if step.too_many and not accept_vanished else 0
        left = [] if held else step.vanished
        # Grants are locked before subjects, and those by id: so those who come back are first.
        back = Subject.objects.filter(pk__in=step.switched(on=True)).order_by("pk")
        ended = changed_by(coming_back, list(back)) if step.switched(on=True) else []
        added = step.add()
        changed = step.follow(left)
        told = f"{held} people vanished at once, so nobody was switched off. Look at the directory." if held else ""
        newly_held = bool(held) and not before.startswith(told)  # told once, not at every sync
        left_out = _left_out(listing, step.standing)
        if left_out and left_out not in before:  # told once, not at every sync
            log.warning("names_left_out", idp=idp.slug, what=left_out)
        error = " ".join(filter(None, [told, trouble, left_out]))
        IdP.objects.filter(pk=idp.pk).update(seen_at=StintNow(), error=error)
        outcome = Outcome(len(added), len(changed) - len(left), len(left), held, left_out)
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


class _Known(NamedTuple):
    """Somebody who is known by this provider, as they are here."""

    external_id: str
    identity: int
    subject: int
    username: str
    name: str
    email: str
    active: bool


class _Step:
    """One listing beside what is known, each read once."""

    def __init__(self, chosen: ProviderSettings, idp: IdP, listing: Sequence[Listed]) -> None:
        self.chosen = chosen
        self.idp = idp
        self.listed = {one.external_id: one for one in listing if not names.odd(one.external_id, names.ID_MAX)}
        rows = Identity.objects.filter(idp=idp).values_list(
            "external_id", "pk", "subject_id", "username", "subject__name", "subject__email", "subject__active"
        )
        self.known = {row[0]: _Known(*row) for row in rows}
        self.there = [(self.known[key], one) for key, one in self.listed.items() if key in self.known]
        self.vanished = [one.subject for key, one in self.known.items() if key not in self.listed and one.active]
        self.standing = {key: people.standing(one.groups, chosen) for key, one in self.listed.items()}

    @property
    def too_many(self) -> bool:
        active = len(self.vanished) + sum(listed.enabled for _, listed in self.there)
        return len(self.vanished) >= HELD_LEAST and len(self.vanished) > HELD_SHARE * active

    def switched(self, *, on: bool) -> list[int]:
        return [known.subject for known, one in self.there if known.active != one.enabled and one.enabled == on]

    def add(self) -> list[Subject]:
        new = [one for key, one in sorted(self.listed.items()) if key not in self.known]
        subjects = people.add_people(self.idp, new)
        self._move({subject.pk: one for subject, one in zip(subjects, new, strict=True)})
        return subjects

    def follow(self, left: Sequence[int]) -> list[Subject]:
        """Bring who is known up to date, and switch off who left. Returns those whom the record is told of."""
        there = {known.subject: one for known, one in self.there}
        moves = self._moves(there)
        switched = {*self.switched(on=True), *self.switched(on=False), *left}
        changed = switched | moves[0].subjects | moves[1].subjects
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
        people.move_teams(moves[0], Membership.Source.DIRECTORY)
        people.move_roles(moves[1])
        return [subjects[pk] for pk in sorted(changed)]

    def _move(self, listed: Mapping[int, Listed]) -> None:
        for_teams, for_roles = self._moves(listed)
        people.move_teams(for_teams, Membership.Source.DIRECTORY)
        people.move_roles(for_roles)

    def _moves(self, listed: Mapping[int, Listed]) -> tuple[people.Moves[str], people.Moves[tuple[str, str]]]:
        """Of these subjects, by who they are in the listing: somebody switched off there is in no team."""
        if not listed:
            return people.Moves({}, []), people.Moves({}, [])
        nothing = people.Standing(frozenset(), frozenset())
        has = {pk: self.standing[one.external_id] if one.enabled else nothing for pk, one in listed.items()}
        first = {pk: people.is_first_admin(one.external_id, self.chosen) for pk, one in listed.items()}
        return (
            people.team_moves({pk: its.teams for pk, its in has.items()}),
            people.role_moves({pk: (its.roles, first[pk]) for pk, its in has.items()}),
        )


def _left_out(listing: Sequence[Listed], standing: Mapping[str, people.Standing]) -> str:
    """The names in this listing that are none, in a sentence."""
    return names.said(
        {
            "person": [
                (names.shown(one.external_id), why)
                for one in listing
                if (why := names.odd(one.external_id, names.ID_MAX))
            ],
            "user name": [odd for one in listing for odd in people.odd_user_name(one.username)],
            "group": [odd for its in standing.values() for odd in its.left_out],
        }
    )


def failed(idp: IdP, reason: str) -> None:
    """The directory could not be read: kept for the status page; what is known stays."""
    IdP.objects.filter(pk=idp.pk).update(error=f"{IdP.UNREAD}{reason}")
