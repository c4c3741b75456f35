"""A request's stages as of now: which are met, which is next, and who can decide it.

Stages are frozen at asking; who qualifies is judged by the policy in force and by today's teams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db.models import QuerySet, prefetch_related_objects

from accounts.models import Subject
from accounts.request_cache import once_per_request
from accounts.written import Written, among, rows
from grants.lifecycle.models import Decision, Request
from grants.policy import ownership, rules, versions
from grants.policy.language import Policy
from grants.policy.people import PeopleAsked
from grants.policy.rulings import Facts, Person, Stage


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage with the people who can decide it."""

    number: int  # from 0
    stage: Stage
    approvers: tuple[Subject, ...]
    fallback: bool  # they are the fallback, because too few others qualify
    short: bool  # even so, too few: a person counts once per request, whatever stages they qualify for
    given: tuple[Decision, ...] = ()

    @property
    def met(self) -> bool:
        return len(self.given) >= self.stage.need


@dataclass(frozen=True, slots=True)
class Approvers:
    """What judging needs to know, read once: the policy in force and everybody who could be asked."""

    policy: Policy | None
    people: PeopleAsked
    subjects: dict[int, Subject] = field(default_factory=dict)  # of the approvers met so far

    @classmethod
    def now(cls) -> Approvers:
        return once_per_request("approvers", lambda: cls(versions.in_force(), PeopleAsked()))

    def views(
        self,
        stages: Sequence[Stage],
        facts: Mapping[int, Facts],
        excluded: frozenset[int],
        decisions: Iterable[Decision] = (),
    ) -> tuple[StageView, ...]:
        if self.policy:
            self.people.read(rules.named_by(self.policy, stages, facts))
        given: dict[int, list[Decision]] = {}
        spent = set()
        for decision in decisions:
            if not decision.superseded:
                spent.add(decision.approver_id)
            if decision.verdict == Decision.Verdict.APPROVE and not decision.superseded:
                given.setdefault(decision.stage, []).append(decision)
        found = [
            rules.candidates(self.policy, stage, facts, self.people, excluded) if self.policy else None
            for stage in stages
        ]
        ids = {person for candidates in found if candidates for person in candidates.people}
        able = [set(candidates.people) - spent if candidates else set() for candidates in found]
        missing = [max(0, stage.need - len(given.get(n, ()))) for n, stage in enumerate(stages)]
        enough = rules.fillable(list(zip(missing, able, strict=True)))
        if missing_ids := ids - self.subjects.keys():
            self.subjects.update((one.pk, one) for one in _subjects(ids=sorted(missing_ids)))
        return tuple(
            StageView(
                number=number,
                stage=stage,
                approvers=tuple(sorted((self.subjects[i] for i in candidates.people), key=lambda s: s.name))
                if candidates
                else (),
                fallback=bool(candidates and candidates.fallback),
                short=not enough[number],
                given=tuple(given.get(number, ())),
            )
            for number, (stage, candidates) in enumerate(zip(stages, found, strict=True))
        )

    def meet(self, requests: Iterable[Request]) -> None:
        """Read, at once, everybody whom the stages of these requests may be open to."""
        if self.policy:
            each = [rules.named_by(self.policy, _stages_of(one), facts_of(one)) for one in requests]
            self.people.read(set().union(*each))

    def asked_among(self, requests: Sequence[Request], person: Person) -> list[Request]:
        """Those of these requests whose first stage that is not met this person can decide.

        Whom a stage names is asked, whoever else is; only where somebody stands in, all must be known.
        """
        alone, asked, standing_in = rules.People([person]), set[int](), []
        for request in requests:
            stage = _open_stage(request)
            if stage is None or self.policy is None:
                continue
            facts, excluded = facts_of(request), excluded_from(request)
            if rules.candidates(self.policy, replace(stage, fallback=()), facts, alone, excluded).people:
                asked.add(request.pk)
            elif rules.candidates(
                self.policy, replace(stage, sources=stage.fallback, fallback=()), facts, alone, excluded
            ).people:
                standing_in.append(request)
        self.meet(standing_in)
        asked |= {request.pk for request in standing_in if person.id in self._open_to(request)}
        return [request for request in requests if request.pk in asked]

    def _open_to(self, request: Request) -> tuple[int, ...]:
        """Who can decide the first stage that is not met, by their ids."""
        stage = _open_stage(request)
        if stage is None or self.policy is None:
            return ()
        return rules.candidates(self.policy, stage, facts_of(request), self.people, excluded_from(request)).people

    def of(self, request: Request) -> tuple[StageView, ...]:
        """The stages of a request that exists, its votes counted; who could decide is read while it can be decided."""
        stages = _stages_of(request)
        if request.state != Request.State.PENDING:
            return replace(self, policy=None).views(stages, {}, frozenset(), request.decisions.all())
        return self.views(stages, facts_of(request), excluded_from(request), request.decisions.all())


@Written
def _subjects() -> QuerySet[Subject]:
    return Subject.objects.filter(among("id", rows("ids")))


def _stages_of(request: Request) -> list[Stage]:
    return [Stage.from_json(stage) for stage in request.stages]


def _open_stage(request: Request) -> Stage | None:
    """The first that is not met; stages go in order."""
    given = Counter(
        vote.stage
        for vote in request.decisions.all()
        if vote.verdict == Decision.Verdict.APPROVE and not vote.superseded
    )
    return next((stage for number, stage in enumerate(_stages_of(request)) if given[number] < stage.need), None)


def facts_of(request: Request) -> dict[int, Facts]:
    prefetch_related_objects([request], "items__resource__connection")
    return {item.resource_id: ownership.facts_of(item.resource) for item in request.items.all()}


def excluded_from(request: Request) -> frozenset[int]:
    """Nobody approves for themselves, neither who asks nor who benefits."""
    return frozenset({request.requester_id, request.beneficiary_id})


def current(views: Sequence[StageView]) -> StageView | None:
    """The first stage that is not met; stages go in order."""
    return next((view for view in views if not view.met), None)
