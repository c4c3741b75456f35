"""What changes between two policies, in words for the person who is about to apply one. Django-free."""

from __future__ import annotations

from collections.abc import Iterator

from grants.policy import wording
from grants.policy.parse import Policy, Rule


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
            terms = f"{', '.join(rule.levels)}; longest {wording.length(rule.longest)}"
            yield f"rule {name}: added ({wording.matching(rule.match)}; {terms})"
        else:
            yield from (f"rule {name}: {line}" for line in _rule(had[name], rule))
    before = [f"{wording.owner(entry.owner)} owns {wording.matching(entry.match)}" for entry in old.owners]
    after = [f"{wording.owner(entry.owner)} owns {wording.matching(entry.match)}" for entry in new.owners]
    yield from (f"owner removed: {line}" for line in before if line not in after)
    yield from (f"owner added: {line}" for line in after if line not in before)
    if before != after and sorted(before) == sorted(after):
        yield "owners: the order changed, and the first that matches counts"
    had_roles = [f"{entry.role} stands for {wording.matching(entry.match)}" for entry in old.roles]
    has_roles = [f"{entry.role} stands for {wording.matching(entry.match)}" for entry in new.roles]
    yield from (f"role removed: {line}" for line in had_roles if line not in has_roles)
    yield from (f"role added: {line}" for line in has_roles if line not in had_roles)
    if had_roles != has_roles and sorted(had_roles) == sorted(has_roles):
        yield "roles: the order changed, and the first that matches counts"
    if old.owner_tags != new.owner_tags:
        yield "owner: tags " + ("count now: who deploys names the approver" if new.owner_tags else "no longer count")
    if old.fallback != new.fallback:
        yield f"fallback: {wording.sources(old.fallback)} → {wording.sources(new.fallback)}"


def _rule(old: Rule, new: Rule) -> Iterator[str]:
    told = {
        "match": (wording.matching(old.match), wording.matching(new.match)),
        "who may ask": (wording.askers(old), wording.askers(new)),
        "levels": (", ".join(old.levels), ", ".join(new.levels)),
        "default": (wording.length(old.default), wording.length(new.default)),
        "longest": (wording.length(old.longest), wording.length(new.longest)),
        "stages": (wording.stages(old), wording.stages(new)),
        "reason": (f"{old.reason_min} characters", f"{new.reason_min} characters"),
        "fallback": (wording.sources(old.fallback), wording.sources(new.fallback)),
        "drain": (wording.length(old.drain), wording.length(new.drain)),
        "discoverable": ("yes" if old.discoverable else "no", "yes" if new.discoverable else "no"),
    }
    for field, (before, after) in told.items():
        if before != after:
            yield f"{field} {before} → {after}"
