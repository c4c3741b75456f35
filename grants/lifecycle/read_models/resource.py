"""One resource: who answers for it, what may be asked for, who asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Subject
from grants import clock
from grants.catalog.models import Resource
from grants.lifecycle import visibility
from grants.lifecycle.ask import Preview, Wanted, preview
from grants.lifecycle.models import Grant
from grants.lifecycle.read_models import history
from grants.lifecycle.read_models.options import Asker, Option
from grants.policy.people import names_of


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """Who answers for a resource, by name: a team, a person, or nobody."""

    team: str = ""
    person: str = ""

    @property
    def name(self) -> str:
        """Empty for nobody."""
        return self.team or self.person


def owner_of(resource: Resource, names: Mapping[str, str]) -> NamedOwner:
    """`names` is of people, by what the policy calls them."""
    return NamedOwner(resource.owner_team, names.get(resource.owner_person, resource.owner_person))


@dataclass(frozen=True, slots=True)
class ResourceView:
    """A resource as one person sees it at `now`."""

    resource: Resource
    now: datetime
    owner: NamedOwner
    options: Sequence[Option]  # each level, least first
    held: Sequence[Grant]  # by the viewer
    asking: Preview | None  # for the least level that the viewer may ask for
    history: Sequence[history.Row]

    @property
    def can_ask(self) -> bool:
        return any(option.can_ask for option in self.options)


def of(resource: Resource, viewer: Subject) -> ResourceView:
    """Read what there is to say of a resource that `viewer` may see (visibility.resource_of)."""
    now = clock.of_page()
    asker = Asker.of(viewer, now)
    options = asker.options(resource)
    least = next((option.level for option in options if option.allowed), None)
    return ResourceView(
        resource=resource,
        now=now,
        owner=owner_of(resource, names_of({resource.owner_person} - {""})),
        options=options,
        held=asker.grants.get(resource.pk, []),
        asking=preview([Wanted(resource, least)], by=viewer) if least else None,
        history=history.rows(visibility.asked_of(viewer, resource), now),
    )
