"""Judge what a person may ask for, and who decides, by the rules of a policy. Pure functions; an error denies.

A rule applies when its `match` holds. Of the rules that apply, the strictest value of each field counts: the person
must be allowed to ask by every one of them, and a request passes the stages of all of them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from grants.catalog.levels import LEVELS_OF, SERVICES_ONLY, Level
from grants.policy.language import TERMS, OwnerLine, Policy, RoleLine, Rule
from grants.policy.match_index import MatchIndex, any_glob
from grants.policy.rulings import (
    Allowed,
    Candidates,
    Counted,
    Denied,
    Facts,
    Owner,
    Person,
    Reach,
    Ruling,
    Source,
    Stage,
)
from grants.policy.values import ResourceMatch

OWNER_TAG = "owner:"


class _CompiledPolicy(NamedTuple):
    owners: MatchIndex[OwnerLine]
    roles: MatchIndex[RoleLine]
    rules: MatchIndex[Rule]
    by_name: Mapping[str, Rule]


@lru_cache(maxsize=8)  # a policy is compared by identity
def _compiled(policy: Policy) -> _CompiledPolicy:
    return _CompiledPolicy(
        MatchIndex(policy.owners, lambda line: line.match),
        MatchIndex(policy.roles, lambda line: line.match),
        MatchIndex(policy.rules, lambda line: line.match),
        {rule.name: rule for rule in policy.rules},
    )


def owner_of(policy: Policy, facts: Facts) -> Owner:
    """Return the owner by the first matching line, else by the resource's tag if tags count, else the connection's."""
    for entry in _compiled(policy).owners.possible(facts):
        if _matches(entry.match, facts, level=None, owner=None):
            return entry.owner
    if policy.owner_tags:
        tagged = sorted(tag.removeprefix(OWNER_TAG) for tag in facts.tags if tag.startswith(OWNER_TAG))
        if len(tagged) == 1:  # two owner tags are ambiguous, so neither counts
            return Owner(team=tagged[0])
    return Owner(team=facts.connection_owner)


def role_of(policy: Policy, facts: Facts, level: str) -> str | None:
    """Return the provider's role to which the first matching line maps this level of the resource; None without one."""
    for entry in _compiled(policy).roles.possible(facts):
        if _matches(entry.match, facts, level=level, owner=None):
            return entry.role
    return None


def rule_on(policy: Policy, facts: Facts, asker: Person, level: str) -> Ruling:
    """Judge whether this person may ask for this level of this resource, and on which terms."""
    where = f"{facts.name} ({facts.connection}, {facts.environment})"
    refused = _not_for_them(facts, level, asker)
    if refused:
        return refused
    applying, failed = _applying(policy, facts, level)
    if failed:
        return Denied("rule_failed", f"Rule {failed} could not be judged, so nothing is allowed. Tell an admin.")
    if not applying:
        return Denied("no_rule", f"No rule lets anybody ask for {level} on {where}.")
    for rule in applying:
        if not _may_ask(rule, asker):
            return Denied(
                "ask", f"Rule {rule.name} says who may ask for {level} on {where}, and you are not among them."
            )
        if level not in rule.levels:
            allowed = ", ".join(rule.levels)
            return Denied("level", f"Rule {rule.name} allows {allowed} on {where}, not {level}.")
    stages = [
        Stage(stage.need, stage.sources, (facts.id,), (rule.name,), rule.fallback or policy.fallback)
        for rule in applying
        for stage in rule.stages
    ]
    drains = Level.of(level) in SERVICES_ONLY
    return Allowed(
        terms=_strictest([_counted(rule, drains=drains) for rule in applying]),
        stages=_merged(stages, lambda _id: None),
        by={
            "levels": applying[0].name,
            "stages": _named(rule.name for rule in applying if rule.stages) or applying[0].name,
        },
    )


def rule_on_all(policy: Policy, items: Sequence[tuple[Facts, str]], asker: Person) -> Ruling:
    """Judge a whole request: one denied item denies it; the strictest terms count, the stages of all apply in order."""
    rulings: list[Allowed] = []
    for facts, level in items:
        ruling = rule_on(policy, facts, asker, level)
        if isinstance(ruling, Denied):
            return ruling
        rulings.append(ruling)
    if not rulings:
        return Denied("no_items", "Choose what you want access to.")
    owners = {facts.id: owner_of(policy, facts) for facts, _ in items}
    return Allowed(
        terms=_strictest([ruling.terms for ruling in rulings]),
        stages=_merged([stage for ruling in rulings for stage in ruling.stages], owners.get),
        by={key: _named(ruling.by[key] for ruling in rulings) for key in ("levels", "stages")},
    )


def may_see(policy: Policy, facts: Facts, asker: Person) -> bool:
    """Is the resource visible? `discoverable: false` hides it from people who neither own it nor may ask for it."""
    reach = reach_of(policy, facts)
    if not reach.hidden or owns(policy, facts, asker):
        return True
    levels = (level.word for level in LEVELS_OF[facts.kind])
    return any(isinstance(rule_on(policy, facts, asker, level), Allowed) for level in levels)


def reach_of(policy: Policy, facts: Facts) -> Reach:
    """Return the owner of the resource and the rules that reach it at any level; may_see() and may_ask() use these."""
    owner = owner_of(policy, facts)
    reaching = [rule for rule in _compiled(policy).rules.possible(facts) if _reaches(rule.match, facts, owner)]
    hidden = any(not rule.discoverable for rule in reaching)
    return Reach(owner, facts.kind, tuple(rule.name for rule in reaching), hidden)


def may_ask(policy: Policy, kind: str, names: Sequence[str], asker: Person) -> bool:
    """May this person ask for any level of a resource of this kind that these rules reach? Agrees with rule_on()."""
    by_name = _compiled(policy).by_name
    reaching = [by_name[name] for name in names]
    return any(
        level not in SERVICES_ONLY or asker.service
        for level in LEVELS_OF[kind]
        if _all_allow([rule for rule in reaching if _about(rule.match, level.word)], level.word, asker)
    )


def _all_allow(applying: Sequence[Rule], level: str, asker: Person) -> bool:
    return bool(applying) and all(level in rule.levels and _may_ask(rule, asker) for rule in applying)


def owns(policy: Policy, facts: Facts, person: Person) -> bool:
    """Does this person own the resource, alone or as a member of the owning team?"""
    owner = owner_of(policy, facts)
    return bool((owner.team and owner.team in person.teams) or (owner.person and owner.person == person.key))


class People:
    """The people who could approve, indexed by team and by key; built once for many questions."""

    def __init__(self, people: Iterable[Person]) -> None:
        self._named: dict[str, set[int]] = {}
        self._teams: dict[str, set[int]] = {}
        self.add(people)

    def add(self, people: Iterable[Person]) -> None:
        for person in people:
            self._named.setdefault(person.key, set()).add(person.id)
            for team in person.teams:
                self._teams.setdefault(team, set()).add(person.id)

    def of(self, source: Source) -> set[int]:
        """Return the people of a team, or the named person; none for `owners`, which depend on a resource."""
        known = {"team": self._teams, "person": self._named}.get(source.kind, {})
        return known.get(source.value, set())

    def owning(self, owner: Owner) -> set[int]:
        """Return everybody for whom owns() holds."""
        team = self.of(Source("team", owner.team)) if owner.team else set[int]()
        return team | self.of(Source("person", owner.person)) if owner.person else team


def candidates(
    policy: Policy, stage: Stage, facts: Mapping[int, Facts], people: People, excluded: frozenset[int]
) -> Candidates:
    """Return the people who can decide this stage now, without the requester and the beneficiary (`excluded`).

    The fallback is added only when too few others qualify.
    """
    found = _who(policy, stage, stage.sources, facts, people) - excluded
    if len(found) >= stage.need:
        return Candidates(tuple(sorted(found)), fallback=False)
    extra = _who(policy, stage, stage.fallback, facts, people) - excluded - found
    return Candidates((*sorted(found), *sorted(extra)), fallback=bool(extra))


def named_by(policy: Policy, stages: Iterable[Stage], facts: Mapping[int, Facts]) -> set[Source]:
    """Return the teams and people, owners included, whom candidates() may look up for these stages."""
    named: set[Source] = set()
    for stage in stages:
        sources = {*stage.sources, *stage.fallback}
        named |= {source for source in sources if source.kind != "owners"}
        owned = stage.resources if any(source.kind == "owners" for source in sources) else ()
        for owner in (owner_of(policy, facts[pk]) for pk in owned if pk in facts):
            named |= {Source("team", owner.team), Source("person", owner.person)}
    return {source for source in named if source.value}


def fillable(stages: Sequence[tuple[int, Iterable[int]]]) -> list[bool]:
    """Say of each stage (number needed, people able) whether it can be filled; a person counts once per request.

    Distinct people for all stages are a bipartite matching; Kuhn's algorithm finds the largest.
    """
    people = [sorted(set(able)) for _, able in stages]
    seats = [number for number, (need, _) in enumerate(stages) for _ in range(need)]
    taken: dict[int, int] = {}  # person -> seat

    def seat(one: int, tried: set[int]) -> bool:
        for person in people[seats[one]]:
            if person not in tried:
                tried.add(person)
                if person not in taken or seat(taken[person], tried):
                    taken[person] = one
                    return True
        return False

    filled = [seat(one, set()) for one in range(len(seats))]
    return [all(ok for ok, number in zip(filled, seats, strict=True) if number == n) for n in range(len(stages))]


def _not_for_them(facts: Facts, level: str, asker: Person) -> Denied | None:
    try:
        wanted = Level.of(level)
    except ValueError:
        return Denied("level_unknown", f"{level} is not a level.")
    if wanted not in LEVELS_OF.get(facts.kind, ()):
        return Denied("level_kind", f"A {facts.kind} has no level {level}.")
    if wanted in SERVICES_ONLY and not asker.service:
        return Denied("services_only", f"{level} is for machines; people do not poll and execute runs.")
    return None


def _applying(policy: Policy, facts: Facts, level: str) -> tuple[list[Rule], str]:
    """The rules that apply, and the name of a rule that raised an error ("" without one)."""
    applying: list[Rule] = []
    try:
        owner, possible = owner_of(policy, facts), _compiled(policy).rules.possible(facts)
    except Exception:  # noqa: BLE001 (any error denies)
        return [], "owners"
    for rule in possible:
        try:
            if _matches(rule.match, facts, level=level, owner=owner):
                applying.append(rule)
        except Exception:  # noqa: BLE001 (any error denies)
            return [], rule.name
    return applying, ""


def _counted(rule: Rule, *, drains: bool) -> Mapping[str, Counted]:
    """The values of a rule by term; a drain only for levels of machines."""
    return {
        term.name: Counted(of(rule), rule.name)
        for term, of in TERMS
        if term.strictest and (drains or term.name != "drain")
    }


def _strictest(given: Sequence[Mapping[str, Counted]]) -> Mapping[str, Counted]:
    """The strictest value of each term; the first of equal ones."""
    strictest: dict[str, Counted] = {}
    for term, _ in TERMS:
        if term.strictest and (values := [terms[term.name] for terms in given if term.name in terms]):
            strictest[term.name] = term.strictest(values, key=attrgetter("value"))
    return strictest


def _named(rules: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(rules))


def _may_ask(rule: Rule, asker: Person) -> bool:
    return rule.ask is None or any(_is(source, asker) for source in rule.ask)


def _is(source: Source, person: Person) -> bool:
    return source.value in person.teams if source.kind == "team" else source.value == person.key


def _matches(match: ResourceMatch, facts: Facts, *, level: str | None, owner: Owner | None) -> bool:
    """Does every given key match? Within a key, one matching value is enough."""
    return _about(match, level) and _reaches(match, facts, owner)


def _about(match: ResourceMatch, level: str | None) -> bool:
    return not match.level or level in match.level


def _reaches(match: ResourceMatch, facts: Facts, owner: Owner | None) -> bool:
    return (
        any_glob(match.connection, facts.connection)
        and any_glob(match.environment, facts.environment)
        and (not match.kind or facts.kind in match.kind)
        and any_glob(match.name, facts.name)
        and (not match.tag or bool(facts.tags.intersection(match.tag)))
        and (not match.owner or (owner is not None and bool(owner.team) and owner.team in match.owner))
    )


def _who(
    policy: Policy, stage: Stage, sources: Sequence[Source], facts: Mapping[int, Facts], people: People
) -> set[int]:
    found: set[int] = set()
    for source in sources:
        found |= _owners(policy, stage, facts, people) if source.kind == "owners" else people.of(source)
    return found


def _owners(policy: Policy, stage: Stage, facts: Mapping[int, Facts], people: People) -> set[int]:
    """The people who own every resource of the stage; nobody when one of them is unknown."""
    if not stage.resources or any(pk not in facts for pk in stage.resources):
        return set()
    return set.intersection(*(people.owning(owner_of(policy, facts[pk])) for pk in stage.resources))


def _merged(stages: Sequence[Stage], owner: Callable[[int], Owner | None]) -> tuple[Stage, ...]:
    """Merge equal stages; owners' stages are equal only when the owner is the same."""
    merged: dict[object, Stage] = {}
    for stage in stages:
        whose = owner(stage.resources[0]) if any(source.kind == "owners" for source in stage.sources) else None
        key = (stage.need, stage.sources, stage.fallback, whose)
        had = merged.get(key)
        merged[key] = (
            replace(
                had,
                resources=tuple(dict.fromkeys((*had.resources, *stage.resources))),
                rules=tuple(dict.fromkeys((*had.rules, *stage.rules))),
            )
            if had
            else stage
        )
    return tuple(merged.values())
