"""Put a policy into words for its page. It takes a policy with names for people (people.named). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grants.policy import wording
from grants.policy.language import Policy, Rule, StageRule
from grants.policy.rulings import Source
from grants.policy.values import ResourceMatch
from grants.policy.wording import duration
from grants.web.words import counts, things

_MOST = 4096  # characters of a reason


@dataclass(frozen=True, slots=True)
class RuleWords:
    name: str
    who: str
    levels: tuple[str, ...]
    what: str
    lines: tuple[str, ...]
    hidden: bool


def rules(policy: Policy, *, hidden_too: bool) -> list[RuleWords]:
    """List the rules in order; undiscoverable ones only with `hidden_too`, as their names tell of hidden resources."""
    return [_rule(policy, rule) for rule in policy.rules if hidden_too or rule.discoverable]


def owners(policy: Policy) -> list[tuple[str, str]]:
    """List what is owned by whom, in the order of matching."""
    told = [(_what(entry.match), wording.owner(entry.owner)) for entry in policy.owners]
    return [*told, ("anything tagged owner:…", "the team that the tag names")] if policy.owner_tags else told


def fallback(policy: Policy) -> str:
    return _sources(policy.fallback)


def _rule(policy: Policy, rule: Rule) -> RuleWords:
    who = "Everybody" if rule.ask is None else _sources(rule.ask) or "Nobody"
    stages = [_stage(stage) for stage in rule.stages]
    length, stand_ins = rule.duration, _sources(rule.fallback or policy.fallback)
    return RuleWords(
        name=rule.name,
        who=f"{who[0].upper()}{who[1:]}",
        levels=rule.levels,
        what=_what(rule.match),
        lines=(
            f"for {duration(length.longest)} at most, {duration(length.default)} unless said otherwise",
            f"approved by {', then '.join(stages)}" if stages else "granted without asking anybody",
            f"a reason of {rule.reason.min} to {_MOST} characters",
            *([_drain(rule)] if "work" in rule.levels else []),
            *([f"stand-ins: {stand_ins}"] if stand_ins and stages else []),
        ),
        hidden=not rule.discoverable,
    )


def _drain(rule: Rule) -> str:
    if not rule.drain:
        return "runs that are still going at the end are cut off"
    return f"runs that are still going at the end may report for {duration(rule.drain)}"


def _stage(stage: StageRule) -> str:
    return f"{counts.number(stage.need)} of {_sources(stage.sources)}"


def _sources(sources: Sequence[Source]) -> str:
    return counts.joined([source.words for source in sources], "or")


def _what(match: ResourceMatch) -> str:
    """Say what a match covers: "deployments named etl* of prefect-prod in production"."""
    kinds = [things.KINDS[kind].words for kind in match.kind] or ["anything"]
    return " ".join(
        [
            counts.joined(kinds, "or"),
            *_clause("named", match.name),
            *_clause("tagged", match.tag),
            *_clause("owned by team", match.owner),
            *_clause("of", match.connection),
            *_clause("in", match.environment),
            *_clause("at level", match.level),
        ]
    )


def _clause(word: str, values: Sequence[str]) -> list[str]:
    return [f"{word} {counts.joined(list(values), 'or')}"] if values else []
