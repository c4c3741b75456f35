"""Say what changes between two policies, for the person who is about to apply one. Free of Django."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grants.policy import wording
from grants.policy.language import TERMS, Policy, Rule, parse_policy


def differences(old: Policy | None, new: Policy) -> Iterator[str]:
    """Yield one sentence for each change; none when the policies say the same."""
    if old is None:
        yield "the first policy: nothing was in force"
        old = parse_policy("{version: 1, rules: []}")
    had, has = {rule.name: rule for rule in old.rules}, {rule.name: rule for rule in new.rules}
    for name in [name for name in had if name not in has]:
        yield f"rule {name}: removed"
    for name, rule in has.items():
        if name not in had:
            terms = f"{', '.join(rule.levels)}; longest {wording.length(rule.duration.longest)}"
            yield f"rule {name}: added ({rule.match.words()}; {terms})"
        else:
            yield from (f"rule {name}: {line}" for line in _rule(had[name], rule))
    yield from _first_match("owner", _owners(old), _owners(new))
    yield from _first_match("role", _roles(old), _roles(new))
    if old.owner_tags != new.owner_tags:
        yield "owner: tags " + ("count now: who deploys names the approver" if new.owner_tags else "no longer count")
    if old.fallback != new.fallback:
        yield f"fallback: {wording.sources(old.fallback)} → {wording.sources(new.fallback)}"


def _first_match(what: str, before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """What changes in a list of which the first line that matches counts."""
    yield from (f"{what} removed: {line}" for line in before if line not in after)
    yield from (f"{what} added: {line}" for line in after if line not in before)
    if before != after and sorted(before) == sorted(after):
        yield f"{what}s: the order changed, and the first that matches counts"


def _owners(policy: Policy) -> list[str]:
    return [f"{wording.owner(entry.owner)} owns {entry.match.words()}" for entry in policy.owners]


def _roles(policy: Policy) -> list[str]:
    return [f"{entry.role} stands for {entry.match.words()}" for entry in policy.roles]


def _rule(old: Rule, new: Rule) -> Iterator[str]:
    for term, of in TERMS:
        if of(old) != of(new):
            yield f"{term.name} {term.say(of(old))} → {term.say(of(new))}"
