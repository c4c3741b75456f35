"""The scene: people of the directory, things to ask for, and grants by the hundred. All of it as the app role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.idp import default, row_of
from accounts.models import Identity, Membership, Subject, Team
from grants import clock, due
from grants.audit import Verb, record
from grants.catalog.models import Connection, Resource
from grants.lifecycle import bindings
from grants.lifecycle.models import Grant, Request, RequestItem, RoleBinding
from grants.policy import versions

POLICY = """\
version: 1
owner_tags: false
owners:
  - {match: {connection: bench}, team: owners}
fallback:
  - {team: owners}
rules:
  - name: all
    match: {kind: deployment}
    ask: anyone
    levels: [run]
    duration: {default: 30m, longest: 8h}
    stages:
      - {need: 1, from: [owners]}
    reason: {min: 10}
"""


def catalog(names: Sequence[str]) -> dict[str, Resource]:
    """A connection with these deployments, and the policy."""
    now = clock.now()
    with transaction.atomic():
        connection = Connection.objects.create(
            slug="bench", kind="prefect", url="http://127.0.0.1:1/api", environment="production", seen_at=now
        )
        found = [
            Resource.objects.create(
                connection=connection, kind="deployment", remote_id=f"d-{name}", name=f"flow/{name}", seen_at=now
            )
            for name in names
        ]
        record(Verb.CATALOG_SYNCED, by="bench", on=[connection, *found])
    versions.apply(POLICY, by=None)
    return dict(zip(names, found, strict=True))


def people(external: Mapping[str, str]) -> dict[str, Subject]:
    """These people, by user name and external id, as the directory's sync would have them, only sooner."""
    due.ensure(job := f"directory:{settings.ENV.idp_slug}")
    due.done(job, again=timedelta(hours=1))  # so that the workers need not read it either
    with transaction.atomic():
        subjects = Subject.objects.bulk_create(Subject(name=name, email=f"{name}@example.org") for name in external)
        Identity.objects.bulk_create(
            Identity(subject=subject, idp=row_of(default()), external_id=external[subject.name], username=subject.name)
            for subject in subjects
        )
        owners = Team.objects.create(slug="owners")
        Membership.objects.create(
            team=owners, subject=next(one for one in subjects if one.name == "owner"), source="directory"
        )
        record(Verb.SUBJECT_CHANGED, by="bench", on=subjects)
    return {subject.name: subject for subject in subjects}


def grants(resource: Resource, subjects: Sequence[Subject], *, until: datetime) -> list[Grant]:
    """A grant each that ends at `until`. Asked and approved in bulk: a policy's shortest is a minute, and its
    approvals take longer than what is measured. What follows the approval is the product's own.
    """
    now = clock.now()
    length = until - now + timedelta(minutes=1)
    common = {"reason": "bench", "asked_at": now, "lapses_at": now + timedelta(days=1), "duration": length}
    policy_id = versions.in_force().version
    with transaction.atomic():
        requests = Request.objects.bulk_create(
            Request(requester=one, beneficiary=one, stages=[], policy_version_id=policy_id,
                    idempotency_key=f"{resource.pk}-{until.timestamp()}", **common)
            for one in subjects
        )  # fmt: skip
        RequestItem.objects.bulk_create(
            RequestItem(request=request, beneficiary_id=request.beneficiary_id, resource=resource, level="run")
            for request in requests
        )
        Request.objects.filter(pk__in=[request.pk for request in requests]).update(state="approved", closed_at=now)
        idp_id = bindings.identity_for_roles(subjects[0].pk).idp_id
        opened = Grant.objects.bulk_create(
            Grant(request=request, asked=length, beneficiary_id=request.beneficiary_id, resource=resource, level="run",
                  idp_id=idp_id, role=bindings.role_of(resource, "run"), starts_at=now, ends_at=until,
                  drain_until=until)
            for request in requests
        )  # fmt: skip
        bindings.want(opened)
        record(Verb.CATALOG_SYNCED, by="bench", on=opened)  # stamps them all, and no mail is written for it
    return opened


def end(opened: Sequence[Grant], *, at: datetime) -> None:
    """Let these end earlier, at one moment that is still to come: what is due then is as if it had been asked so."""
    with transaction.atomic():
        Grant.objects.filter(pk__in=[grant.pk for grant in opened]).update(ended_at=at)
        RoleBinding.objects.filter(role=opened[0].role, due_at=opened[0].ends_at).update(due_at=at)
        record(Verb.CATALOG_SYNCED, by="bench", on=opened)
