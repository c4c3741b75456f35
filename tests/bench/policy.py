"""What judging by a long policy costs, beside a walk through all of its lines: 2,000 resources, 40 rules, 40 owners.

Needs no database: `python -m tests.bench.policy`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from grants.policy import rules
from grants.policy.language import Policy, parse_policy
from grants.policy.rulings import Allowed, Facts, Owner, Person
from tests.bench.figures import say

RESOURCES, LINES, TRIES = 2_000, 40, 5
ASKER = Person(1, "sso", "id-1", frozenset({"team-3"}))


def main() -> None:
    policy, resources = a_policy(), some_resources()
    walked = best(lambda: [walk(policy, facts, "run") for facts in resources])
    for what, asked in (
        ("rule_on, a level of each resource", lambda: [rules.rule_on(policy, f, ASKER, "run") for f in resources]),
        ("rule_on_all, 20 resources a request", lambda: requests(policy, resources)),
        ("owner_of, of each resource", lambda: [rules.owner_of(policy, facts) for facts in resources]),
        ("reach_of, of each resource", lambda: [rules.reach_of(policy, facts) for facts in resources]),
    ):
        took = best(asked)
        say(
            what, f"{took * 1000:.0f} ms, {walked / took:.0f} x as quick as a walk that asks for the owner at each rule"
        )
    hits = sum(isinstance(rules.rule_on(policy, facts, ASKER, "run"), Allowed) for facts in resources)
    say("the walk itself", f"{walked * 1000:.0f} ms; {hits} of {RESOURCES} may be asked for")


def requests(policy: Policy, resources: list[Facts]) -> None:
    for first in range(0, RESOURCES, 20):
        rules.rule_on_all(policy, [(facts, "run") for facts in resources[first : first + 20]], ASKER)


def walk(policy: Policy, facts: Facts, level: str) -> list[str]:
    """The rules that apply, found as they were at first: every rule looks the owner up."""
    return [
        rule.name for rule in policy.rules if rules._matches(rule.match, facts, level=level, owner=owner(policy, facts))
    ]


def owner(policy: Policy, facts: Facts) -> Owner:
    found: Iterable[Owner] = (
        line.owner for line in policy.owners if rules._matches(line.match, facts, level=None, owner=None)
    )
    return next(iter(found), Owner(team=facts.connection_owner))


def best(tried: Callable[[], object]) -> float:
    """The quickest: others share the machine."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        tried()
        times.append(time.perf_counter() - began)
    return min(times)


def a_policy() -> Policy:
    owners = "".join(f"  - {{match: {{name: 'team-{n}/*'}}, team: team-{n}}}\n" for n in range(LINES))
    made = "".join(
        f"  - {{name: rule-{n}, match: {{kind: deployment, name: 'team-{n}/*', owner: team-{n}}}, ask: anyone,"
        " levels: [view, run], duration: {default: 30m, longest: 8h}, stages: [{need: 1, from: [owners]}]}\n"
        for n in range(LINES)
    )
    return parse_policy(f"version: 1\nowners:\n{owners}rules:\n{made}")


def some_resources() -> list[Facts]:
    return [
        Facts(n, "prefect-prod", "production", "deployment", f"team-{n % LINES}/flow-{n}", frozenset(), "platform")
        for n in range(RESOURCES)
    ]


if __name__ == "__main__":
    main()
