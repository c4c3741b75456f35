"""Store with each resource what the policy in force says about it: its owner, whether it is hidden, its rules.

Lists, search and visibility read these columns. Whether a person may ask or decide is always judged by the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from itertools import batched
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from accounts.written import Written, a_row, a_text, among, texts
from grants.catalog.models import Connection, Resource
from grants.policy import rules
from grants.policy.language import Policy
from grants.policy.models import RuleSet
from grants.policy.rulings import Facts, Owner, Person, Reach

_FACTS = (
    "pk", "connection__slug", "connection__environment", "kind", "name", "tags", "connection__owner_team",
)  # fmt: skip

# Two statements: every version of a policy has its own rule sets, so the first one writes every resource each time. An
# UPDATE that names an owner's column makes PostgreSQL compute the generated `words` of every row again, which takes a
# second for two thousand.
_WRITE = """
UPDATE grants_resource r SET hidden = j.hidden, rules_id = j.rules
FROM unnest(%s::bigint[], %s::bool[], %s::bigint[]) AS j (id, hidden, rules)
WHERE r.id = j.id AND (r.hidden, r.rules_id) IS DISTINCT FROM (j.hidden, j.rules)
"""
_WRITE_OWNERS = """
UPDATE grants_resource r SET owner_team = j.team, owner_person = j.person
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS j (id, team, person)
WHERE r.id = j.id AND (r.owner_team, r.owner_person) IS DISTINCT FROM (j.team, j.person)
"""
MOST = 5_000  # rows in one statement, because a statement has ten seconds


def lock() -> None:
    """Lock all connections; a sync, or a change of a connection, locks its own.

    The action that puts a policy in force locks first: then nothing is judged by the previous version meanwhile, and
    of two policies the later one is the one by which resources are judged.
    """
    list(Connection.objects.order_by("pk").select_for_update(no_key=True).values_list("pk"))


def store_all(policy: Policy) -> None:
    """Judge every resource by this policy, in the transaction that puts it in force, after lock()."""
    _store(policy, Resource.objects.all())
    RuleSet.objects.filter(policy_version__lt=policy.number, resources=None).delete()


def store_stale(policy: Policy | None) -> None:
    """Judge by this policy, after lock(), the resources that no version or another version has judged."""
    store_changed(policy, Connection.objects.values_list("pk", flat=True), changed=())


def store_changed(policy: Policy | None, connections: Iterable[int], changed: Collection[int] | None) -> None:
    """Judge the `changed` resources of these connections, which the caller has locked; all of them with None.

    Also judges the resources that no version or another version has judged. Without a policy nothing is hidden.
    """
    here = Resource.objects.filter(connection__in=connections)
    if changed is not None:
        current = Q(rules__policy_version=policy.number) if policy else Q(rules=None, hidden=False)
        here = here.filter(Q(pk__in=changed) | ~current)
    _store(policy, here)


def _store(policy: Policy | None, resources: QuerySet[Resource]) -> None:
    facts = [
        Facts(pk, connection, environment, kind, name, frozenset(tags), owner)
        for pk, connection, environment, kind, name, tags, owner in resources.values_list(*_FACTS)
    ]
    if not facts:
        return
    if policy is None:
        reaches = dict.fromkeys((one.id for one in facts), Reach(Owner(), "", (), hidden=False))
        sets: dict[str, int] = {}
    else:
        reaches = {one.id: rules.reach_of(policy, one) for one in facts}
        sets = _sets(policy, reaches.values())
    with connection.cursor() as cursor:
        for some in batched(reaches.items(), MOST):
            ids = [pk for pk, _ in some]
            hidden = [reach.hidden for _, reach in some]
            cursor.execute(_WRITE, [ids, hidden, [sets.get(_digest(reach)) for _, reach in some]])
            owners = [reach.owner for _, reach in some]
            cursor.execute(_WRITE_OWNERS, [ids, [one.team for one in owners], [one.person for one in owners]])


def _sets(policy: Policy, reaches: Iterable[Reach]) -> dict[str, int]:
    """Map the digest of each set of rules to its row; insert the new ones."""
    wanted = {_digest(reach): reach for reach in reaches}
    RuleSet.objects.bulk_create(
        [
            RuleSet(
                policy_version_id=policy.number,
                kind=reach.kind,
                rules=list(reach.rules),
                digest=digest,
                hidden=reach.hidden,
            )
            for digest, reach in sorted(wanted.items())
        ],
        ignore_conflicts=True,
    )
    return dict(RuleSet.objects.filter(policy_version=policy.number, digest__in=wanted).values_list("digest", "pk"))


def _digest(reach: Reach) -> str:
    return hashlib.sha256("\n".join((reach.kind, *reach.rules)).encode()).hexdigest()


def owned(person: Person) -> Q:
    """Return the condition for the resources that this person owns, alone or with a team."""
    theirs = Q(owner_team__in=sorted(person.teams - {""}))
    return theirs | Q(owner_person=person.key) if person.key else theirs


def owned_by_given() -> Q:
    """Return the same condition for a Written query: for a person of these `teams` with this `key`, which may be ""."""
    by_team = Q(among("owner_team", texts("teams"))) & ~Q(owner_team="")
    return by_team | Q(owner_person=a_text("key")) & ~Q(owner_person="")


def visible(policy: Policy, person: Person | None) -> Q:
    """Return the condition for the resources that this person may see; agrees with rules.may_see()."""
    if person is None:
        return Q(hidden=False)
    return Q(hidden=False) | owned(person) | Q(rules__in=_may_ask(policy, person, _hidden_sets_of))


def askable(policy: Policy, person: Person) -> Q:
    """Return the condition for the resources of which this person may ask for some level."""
    return Q(rules__in=_may_ask(policy, person, _sets_of))


def _may_ask(policy: Policy, person: Person, sets: Written[Any]) -> list[int]:
    return [pk for pk, kind, names in sets(policy=policy.number) if rules.may_ask(policy, kind, names, person)]


@Written
def _sets_of() -> QuerySet[RuleSet, Any]:
    return RuleSet.objects.filter(policy_version=a_row("policy")).values_list("pk", "kind", "rules")


@Written
def _hidden_sets_of() -> QuerySet[RuleSet, Any]:
    return RuleSet.objects.filter(policy_version=a_row("policy"), hidden=True).values_list("pk", "kind", "rules")
