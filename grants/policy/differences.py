"""What changes between two policies, in words for the person who is about to apply one. Django-free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from grants.policy.parse import Match, Policy, Rule
from grants.policy.rulings import Owner, Source


def differences(old: Policy | None, new: Policy) -> Iterator[str]:
    """One sentence a change. Nothing when the policies say the same."""
    if old is None:
        yield "the first policy: nothing was in force"
        old = Policy(owner_tags=False, owners=(), fallback=(), rules=())
    had, has = {rule.name: rule for rule in old.rules}, {rule.name: rule for rule in new.rules}
    for name in [name for name in had if name not in has]:
        yield f"rule {name}: removed"
    for name, rule in has.items():
        if name not in had:
            yield f"rule {name}: added ({_match(rule.match)}; {', '.join(rule.levels)}; longest {_length(rule.longest)})"
        else:
            yield from (f"rule {name}: {line}" for line in _rule(had[name], rule))
    before = [f"{_owner(entry.owner)} owns {_match(entry.match)}" for entry in old.owners]
    after = [f"{_owner(entry.owner)} owns {_match(entry.match)}" for entry in new.owners]
    yield from (f"owner removed: {line}" for line in before if line not in after)
    yield from (f"owner added: {line}" for line in after if line not in before)
    if before != after and sorted(before) == sorted(after):
        yield "owners: the order changed, and the first that matches counts"
    if old.owner_tags != new.owner_tags:
        yield f"owner: tags {'count now: whoever deploys can name the approver' if new.owner_tags else 'no longer count'}"
    if old.fallback != new.fallback:
        yield f"fallback: {_sources(old.fallback)} → {_sources(new.fallback)}"


def _rule(old: Rule, new: Rule) -> Iterator[str]:
    told = {
        "match": (_match(old.match), _match(new.match)),
        "who may ask": (_ask(old), _ask(new)),
        "levels": (", ".join(old.levels), ", ".join(new.levels)),
        "default": (_length(old.default), _length(new.default)),
        "longest": (_length(old.longest), _length(new.longest)),
        "stages": (_stages(old), _stages(new)),
        "reason": (f"{old.reason_min} characters", f"{new.reason_min} characters"),
        "fallback": (_sources(old.fallback), _sources(new.fallback)),
        "discoverable": ("yes" if old.discoverable else "no", "yes" if new.discoverable else "no"),
    }
    for field, (before, after) in told.items():
        if before != after:
            yield f"{field} {before} → {after}"


def _match(match: Match) -> str:
    said = [f"{key} {' or '.join(values)}" for key, values in match._asdict().items() if values]
    return ", ".join(said) or "everything"


def _ask(rule: Rule) -> str:
    return "anyone" if rule.ask is None else _sources(rule.ask)


def _stages(rule: Rule) -> str:
    if not rule.stages:
        return "none, granted at once"
    return ", then ".join(f"{stage.need} of {_sources(stage.sources)}" for stage in rule.stages)


def _sources(sources: Sequence[Source]) -> str:
    words = {"owners": "the owners", "team": "team {}", "person": "{}"}
    return " or ".join(words[source.kind].format(source.value) for source in sources) or "nobody"


def _owner(owner: Owner) -> str:
    return f"team {owner.team}" if owner.team else owner.person or "nobody"


def _length(length: timedelta) -> str:
    minutes = int(length.total_seconds()) // 60
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"
