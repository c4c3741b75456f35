"""The stages of a request at this moment: which are complete, which is next, and who can decide it.

Stages are fixed when somebody asks; who qualifies follows from the policy in force and the teams at this moment.
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
    fallback: bool  # the fallback was added, because too few others qualify
    short: bool  # too few even so; a person counts once per request, however many stages they qualify for
    given: tuple[Decision, ...] = ()

    @property
    def met(self) -> bool:
        return len(self.given) >= self.stage.need


@dataclass(frozen=True, slots=True)
class Approvers:
    """The policy in force and the people who could approve, read once for many requests."""

    policy: Policy | None
    people: PeopleAsked
    subjects: dict[int, Subject] = field(default_factory=dict)  # the rows of approvers that were read so far

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
        """Read with one query everybody who may be able to decide one of these requests."""
        if self.policy:
            each = [rules.named_by(self.policy, _stages_of(one), item_facts(one)) for one in requests]
            self.people.read(set().union(*each))

    def asked_among(self, requests: Sequence[Request], person: Person) -> list[Request]:
        """Return the requests whose first incomplete stage this person can decide.

        A person named by the stage itself can decide it whoever else can. Only for a person of the fallback do the
        others have to be read, because the fallback is added when too few of them qualify.
        """
        alone, asked, standing_in = rules.People([person]), set[int](), []
        for request in requests:
            stage = _open_stage(request)
            if stage is None or self.policy is None:
                continue
            facts, excluded = item_facts(request), excluded_from(request)
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
        """The ids of the people who can decide the first incomplete stage."""
        stage = _open_stage(request)
        if stage is None or self.policy is None:
            return ()
        return rules.candidates(self.policy, stage, item_facts(request), self.people, excluded_from(request)).people

    def of(self, request: Request) -> tuple[StageView, ...]:
        """Return the stages of a filed request with its votes; approvers are read only while it is pending."""
        stages = _stages_of(request)
        if request.state != Request.State.PENDING:
            return replace(self, policy=None).views(stages, {}, frozenset(), request.decisions.all())
        return self.views(stages, item_facts(request), excluded_from(request), request.decisions.all())


@Written
def _subjects() -> QuerySet[Subject]:
    return Subject.objects.filter(among("id", rows("ids")))


def _stages_of(request: Request) -> list[Stage]:
    return [Stage.from_json(stage) for stage in request.stages]


def _open_stage(request: Request) -> Stage | None:
    """The first incomplete stage; stages are decided in order."""
    given = Counter(
        vote.stage
        for vote in request.decisions.all()
        if vote.verdict == Decision.Verdict.APPROVE and not vote.superseded
    )
    return next((stage for number, stage in enumerate(_stages_of(request)) if given[number] < stage.need), None)


def item_facts(request: Request) -> dict[int, Facts]:
    prefetch_related_objects([request], "items__resource__connection")
    return {item.resource_id: ownership.facts_of(item.resource) for item in request.items.all()}


def excluded_from(request: Request) -> frozenset[int]:
    """Return the people who must not approve: nobody approves for themselves, so the requester and the beneficiary."""
    return frozenset({request.requester_id, request.beneficiary_id})


def current(views: Sequence[StageView]) -> StageView | None:
    """Return the first incomplete stage; stages are decided in order."""
    return next((view for view in views if not view.met), None)


def left_to_decide(view: StageView, stages: Sequence[StageView]) -> list[Subject]:
    """Who can still decide this stage: a person counts once per request, whatever the stage."""
    voted = {decision.approver_id for stage in stages for decision in stage.given}
    return [approver for approver in view.approvers if approver.pk not in voted]
