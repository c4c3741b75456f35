"""What a person may ask for on a resource, level by level, and what they hold or wait for there already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Subject
from grants.catalog.levels import LEVELS_OF
from grants.catalog.models import Resource
from grants.lifecycle import visibility
from grants.lifecycle.models import Grant, RequestItem
from grants.lifecycle.sentences import Says, denied
from grants.policy import ownership, rules, versions
from grants.policy.language import Policy
from grants.policy.people import asker_of
from grants.policy.rulings import Allowed, Denied, Person, Ruling
from grants.references import ref


@dataclass(frozen=True, slots=True)
class Option:
    """One level of one resource, as one person sees it."""

    level: str
    ruling: Ruling
    held: Grant | None
    pending: RequestItem | None  # asked for already, so not again

    @property
    def allowed(self) -> Allowed | None:
        return self.ruling if isinstance(self.ruling, Allowed) else None

    @property
    def can_ask(self) -> bool:
        return self.allowed is not None and self.pending is None

    @property
    def why_not(self) -> str:
        """Why it can't be asked for; empty when it can."""
        if self.pending:
            return f"It is asked for already: {ref('request', self.pending.request_id)} is pending."
        return self.ruling.reason if isinstance(self.ruling, Denied) else ""

    @property
    def approvals(self) -> int:
        """How many people must say yes."""
        return sum(stage.need for stage in self.allowed.stages) if self.allowed else 0


@dataclass(frozen=True, slots=True)
class Asker:
    """One person with what they hold and wait for, and the policy in force: read once for a page."""

    policy: Policy | None
    person: Person | None
    grants: dict[int, list[Grant]]  # by resource, live, longest first
    pending: dict[int, list[RequestItem]]

    @classmethod
    def of(cls, subject: Subject, now: datetime) -> Asker:
        grants: dict[int, list[Grant]] = {}
        for grant in reversed(visibility.held_by(subject)):
            grants.setdefault(grant.resource_id, []).append(grant)
        pending: dict[int, list[RequestItem]] = {}
        for item in visibility.items_awaited_by(subject, now):
            pending.setdefault(item.resource_id, []).append(item)
        return cls(versions.in_force(), asker_of(subject), grants, pending)

    def options(self, resource: Resource) -> list[Option]:
        """Every level that the kind knows, least first."""
        return [self._option(resource, level.word) for level in LEVELS_OF[resource.kind]]

    def may_ask(self, resource: Resource) -> bool:
        return not resource.retired_at and any(
            isinstance(self._rule(resource, level.word), Allowed) for level in LEVELS_OF[resource.kind]
        )

    def _option(self, resource: Resource, level: str) -> Option:
        return Option(
            level=level,
            ruling=self._rule(resource, level),
            held=next((grant for grant in self.grants.get(resource.pk, ()) if grant.level == level), None),
            pending=next((item for item in self.pending.get(resource.pk, ()) if item.level == level), None),
        )

    def _rule(self, resource: Resource, level: str) -> Ruling:
        if self.policy is None or self.person is None:
            return denied(Says.NO_POLICY)
        if resource.retired_at:
            return denied(Says.RETIRED, names=resource.name)
        return rules.rule_on(self.policy, ownership.facts_of(resource), self.person, level)


def first_choice(options: Iterable[Option]) -> str:
    """The level chosen before anybody chose: the least that can be asked for and is not held, or ""."""
    options = list(options)
    fresh = [option.level for option in options if option.can_ask and not option.held]
    return next(iter(fresh or [option.level for option in options if option.can_ask]), "")
