"""Read the policy in force, say what another one would change, and put it in force."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Identity, Subject
from accounts.request_cache import once_per_request
from grants import clock, due
from grants.audit import Verb, record
from grants.identity.directory import sync_job
from grants.policy import reach
from grants.policy.differences import differences
from grants.policy.language import Policy, parse_policy, with_people
from grants.policy.models import PolicyRefusal, PolicyVersion
from grants.policy.people import named
from grants.policy.yaml_marks import PolicyErrors, Problem, load

JUDGE = "judge"  # the name of the due row that migration 0018 inserts
IN_FORCE = "policy in force"  # the key of its id in the request cache


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a text would change, in words; without lines the text is in force already."""

    lines: tuple[str, ...]


def in_force_row() -> PolicyVersion | None:
    """Return the version with the greatest number."""
    return once_per_request("policy in force: row", PolicyVersion.objects.order_by("-id").first)


def in_force() -> Policy | None:
    """Return the policy in force; None when there is none, or when this release cannot read it (in_force_problem())."""
    newest = _newest()
    return _read(newest)[0] if newest else None


def in_force_problem() -> str:
    """Say why this release cannot read the version in force; "" when it can."""
    newest = _newest()
    return _read(newest)[1] if newest else ""


def _newest() -> int | None:
    return once_per_request(IN_FORCE, newest_id().first)


def newest_id() -> QuerySet[PolicyVersion, int]:
    return PolicyVersion.objects.order_by("-id").values_list("id", flat=True)[:1]


@lru_cache(maxsize=4)
def _read(version: int) -> tuple[Policy | None, str]:
    # Versions are never changed, so a version that was read once stays right.
    row = PolicyVersion.objects.get(pk=version)
    try:
        policy = with_people(parse_policy(row.text), row.people)
    except PolicyErrors as error:
        return None, str(error)
    return policy.numbered(version), ""


def plan(text: str) -> Plan:
    """Say what this text would change. Raises PolicyErrors, also for people who cannot be found."""
    policy, people = _resolved(text)
    row = in_force_row()
    if row and row.text == text and row.people == people:
        return Plan(())
    old, new = in_force(), with_people(policy, people)
    return Plan(tuple(differences(old and named(old, keys=True), named(new, keys=True))))


def apply(text: str, *, by: Subject | None) -> PolicyVersion:
    """Put a policy in force. The same text again changes nothing and returns the version in force.

    Raises PolicyErrors: a broken text changes nothing, and admins see the errors until a good one is applied.
    """
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    actor = by or "cli"
    try:
        policy, people = _resolved(text)
    except PolicyErrors as error:
        with transaction.atomic():
            refusal = PolicyRefusal.objects.create(
                sha256=sha256, errors=[problem._asdict() for problem in error.problems], at=clock.now()
            )
            record(Verb.POLICY_REFUSED, by=actor, refusal=refusal.pk, sha256=sha256)
        raise
    with transaction.atomic():
        reach.lock()
        row = in_force_row()
        if row and row.text == text and row.people == people and not refusal_since(row):
            _judge_stale()
            return row
        row = PolicyVersion.objects.create(
            sha256=sha256, text=text, people=people, applied_by=by, applied_at=clock.now()
        )
        reach.store_all(with_people(policy, people).numbered(row.pk))
        if policy.roles:
            for slug in settings.ENV.providers:
                due.hurry(sync_job(slug))  # the sync also inspects the mapped roles
        record(Verb.POLICY_APPLIED, by=actor, policy=row.pk, sha256=sha256)
    return row


def mapped_roles(policy: Policy | None = None) -> list[str]:
    """Return the existing roles of the provider that this policy, or the one in force, maps to."""
    policy = policy or in_force()
    return sorted({entry.role for entry in policy.roles}) if policy else []


def refusal_since(row: PolicyVersion | None) -> PolicyRefusal | None:
    """Return the newest refusal of a file after this version was applied."""
    refusals = PolicyRefusal.objects.order_by("-id")
    return (refusals.filter(at__gt=row.applied_at) if row else refusals).first()


def judge_anew(*, connections: Collection[int], changed: Collection[int] | None, **_: object) -> None:
    """Judge these resources again; receives catalog.changes.judged_anew."""
    policy = in_force()
    if (
        policy or in_force_row() is None
    ):  # under a policy that this release cannot read, resources keep their last judgement
        reach.store_changed(policy, connections, changed)


@due.job(JUDGE)
def judge_stale(_which: str = "") -> timedelta | None:
    """Judge the resources that the policy in force has not judged yet, without waiting for a sync."""
    with transaction.atomic():
        reach.lock()
        _judge_stale()
    return None


def _judge_stale() -> None:
    policy = in_force()
    if policy or in_force_row() is None:  # as above
        reach.store_stale(policy)


def _resolved(text: str) -> tuple[Policy, dict[str, str]]:
    """The policy of a text, and the external id of everybody whom it names. Raises PolicyErrors."""
    policy = parse_policy(text)
    resolved: dict[str, str] = {}
    problems: list[Problem] = []
    for key, place in policy.people:
        idp, _, username = key.partition(":")
        found = list(Identity.objects.filter(idp__slug=idp, username=username, subject__active=True)[:2])
        if len(found) == 1:
            resolved[key] = found[0].external_id
            continue
        why = "is not known" if not found else "is the user name of several people"
        _value, marks = load(text)
        hint = "sync the directory, or check the name" if not found else "name a team instead"
        problems.append(marks.problem(place, f"{username} {why} at the identity provider {idp}: {hint}."))
    if problems:
        raise PolicyErrors(problems)
    return policy, resolved
