"""Who owns a resource, and who may see it, by the policy in force."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from accounts.models import Subject
from grants.catalog.models import Resource
from grants.policy import reach, rules
from grants.policy.people import person_of
from grants.policy.rulings import Facts
from grants.policy.versions import in_force


def facts_of(resource: Resource) -> Facts:
    """Return the facts about a resource that the rules use."""
    return Facts(
        id=resource.pk,
        connection=resource.connection.slug,
        environment=resource.connection.environment,
        kind=resource.kind,
        name=resource.name,
        tags=frozenset(resource.tags),
        connection_owner=resource.connection.owner_team,
    )


def owns(subject: Subject, resource: Resource) -> bool:
    """Does this person own this resource, by the policy in force?"""
    policy, person = in_force(), person_of(subject)
    return bool(policy and person and rules.owns(policy, facts_of(resource), person))


def may_see(subject: Subject, resource: Resource) -> bool:
    """May this person see this resource? Judged by the rules; agrees with not_hidden_from()."""
    policy, person = in_force(), person_of(subject)
    if not resource.hidden:
        return True
    judged = resource.rules_id is not None  # a resource that was not judged yet is hidden from everybody
    return bool(policy and person and judged and rules.may_see(policy, facts_of(resource), person))


def owned_by(subject: Subject) -> QuerySet[Resource]:
    """Return the resources that this person owns, retired ones included."""
    policy, person = in_force(), person_of(subject)
    if policy is None or person is None:
        return Resource.objects.none()
    return Resource.objects.filter(reach.owned(person))


def not_hidden_from(subject: Subject) -> Q:
    """Return the condition for the resources that the policy does not hide from this person."""
    policy = in_force()
    return reach.visible(policy, person_of(subject)) if policy else Q(hidden=False)
