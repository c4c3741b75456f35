"""Who and what the tests tell their stories with.

ada asks; ben is her team mate (ingest). chiara and tomasz own the pool and its deployments (platform).
priya is a portal admin, olga an auditor, oscar an outsider with no team.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from accounts.models import Identity, IdP, Membership, PortalRole, Subject, Team
from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Connection, Resource
from grants.lifecycle.ask import Wanted, ask
from grants.lifecycle.models import Request
from grants.policy import versions
from grants.policy.models import PolicyVersion

POLICY = """\
version: 1
owner_tags: false
owners:
  - {match: {connection: prefect-prod, kind: [pool, deployment], name: "etl*"}, team: platform}
fallback:
  - {team: sre}
rules:
  - name: deployments-run
    match: {kind: deployment}
    ask: anyone
    levels: [view, run, operate]
    duration: {default: 30m, longest: 8h}
    stages:
      - {need: 1, from: [owners]}
    reason: {min: 10}
  - name: pools-two
    match: {kind: pool, level: [run, operate, manage]}
    ask: anyone
    levels: [view, run, operate, manage]
    duration: {default: 1h, longest: 4h}
    stages:
      - {need: 2, from: [owners]}
    reason: {min: 10}
  - name: pools-view
    match: {kind: pool, level: view}
    ask: anyone
    levels: [view]
    duration: {default: 1h, longest: 4h}
    stages:
      - {need: 1, from: [owners]}
    reason: {min: 10}
"""


REASON = "The nightly run died on a schema change; it needs another go."


@dataclass(frozen=True)
class Cast:
    idp: IdP
    ada: Subject
    ben: Subject
    chiara: Subject
    tomasz: Subject
    priya: Subject
    olga: Subject
    oscar: Subject
    connection: Connection
    server: Resource
    pool: Resource  # owned by platform; needs two
    deployment: Resource  # owned by platform; needs one
    orphan: Resource  # a deployment nobody owns, and the fallback team is empty
    policy: PolicyVersion

    def asks(
        self,
        who: Subject | None = None,
        *wanted: tuple[Resource, str],
        minutes: int = 30,
        key: str = "",
        reason: str = REASON,
    ) -> Request:
        """A request, by ada for `run` on the deployment unless told otherwise."""
        items = [Wanted(resource, level) for resource, level in wanted or ((self.deployment, "run"),)]
        return ask(
            items,
            by=who or self.ada,
            duration=timedelta(minutes=minutes),
            reason=reason,
            idempotency_key=key or uuid4().hex,
        )


def make_cast() -> Cast:
    env = settings.ENV
    idp, _ = IdP.objects.get_or_create(
        slug=env.idp_slug,
        defaults={"kind": env.idp_kind, "issuer": env.oidc_issuer, "client_id": env.oidc_client_id},
    )
    people = {
        "ada": ["ingest"],
        "ben": ["ingest"],
        "chiara": ["platform"],
        "tomasz": ["platform"],
        "priya": [],
        "olga": [],
        "oscar": [],
    }
    cast = {name: _person(idp, name, teams) for name, teams in people.items()}
    PortalRole.objects.create(subject=cast["priya"], role="admin", source="claim")
    PortalRole.objects.create(subject=cast["olga"], role="auditor", source="claim")
    connection, resources = _catalog()
    policy = versions.apply(POLICY, by=None)
    return Cast(idp=idp, connection=connection, policy=policy, **cast, **resources)


def _person(idp: IdP, name: str, teams: list[str]) -> Subject:
    with transaction.atomic():
        subject = Subject.objects.create(name=name.title(), email=f"{name}@example.org")
        Identity.objects.create(subject=subject, idp=idp, external_id=f"id-{name}", username=name)
        for slug in teams:
            team, _ = Team.objects.get_or_create(slug=slug)
            Membership.objects.create(team=team, subject=subject, source="directory")
        record(Verb.SUBJECT_CHANGED, by="test", on=[subject])
    subject.refresh_from_db()
    return subject


def _catalog() -> tuple[Connection, dict[str, Resource]]:
    now = clock.now()
    with transaction.atomic():
        connection = Connection.objects.create(
            slug="prefect-prod",
            kind="prefect",
            url="http://127.0.0.1:1/api",
            environment="production",
            seen_at=now,
        )
        server = Resource.objects.create(
            connection=connection, kind="server", remote_id="server", name="prefect-prod", seen_at=now
        )
        pool = Resource.objects.create(
            connection=connection, kind="pool", remote_id="p1", name="etl", parent=server, seen_at=now
        )
        deployment = Resource.objects.create(
            connection=connection, kind="deployment", remote_id="d1", name="etl/prod", parent=pool,
            description="Orders into the warehouse", tags=["prod", "pii"], seen_at=now,
        )  # fmt: skip
        orphan = Resource.objects.create(
            connection=connection,
            kind="deployment",
            remote_id="d2",
            name="stray/adhoc",
            parent=pool,
            seen_at=now,
        )
        found = {"server": server, "pool": pool, "deployment": deployment, "orphan": orphan}
        record(Verb.CATALOG_SYNCED, by="test", on=[connection, *found.values()])
    return connection, found
