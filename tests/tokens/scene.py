"""Machines in the stories: ingest's worker asks for `work` on platform's pool."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from accounts import service_identities
from accounts.models import Subject, Team
from grants.catalog.models import Resource
from grants.lifecycle import decide
from grants.lifecycle.ask import Wanted, ask
from grants.lifecycle.models import Grant, Request
from grants.policy import versions
from tests.cast import POLICY, Cast

WORKERS = """\
  - name: workers
    match: {kind: pool, level: work}
    ask: [{team: ingest}, {team: platform}]
    levels: [work]
    duration: {default: 8h, longest: 7d}
    stages:
      - {need: 1, from: [owners]}
    reason: {min: 10}
    drain: 20m
"""


def machine(team: str, by: Subject, name: str = "etl worker") -> Subject:
    return service_identities.add(Team.objects.get(slug=team), name, by=by)


def asks_for(cast: Cast, service: Subject, *, by: Subject, minutes: int = 60, resource: Resource | None = None,
             level: str = "work") -> Request:  # fmt: skip
    return ask(
        [Wanted(resource or cast.pool, level)],
        by=by,
        beneficiary=service,
        duration=timedelta(minutes=minutes),
        reason="The nightly loads run on this pool.",
        idempotency_key=uuid4().hex,
    )


def working(cast: Cast, minutes: int = 60) -> Grant:
    """A live `work` grant of ingest's worker, asked for by ada, approved by chiara."""
    versions.apply(POLICY + WORKERS, by=None)
    request = asks_for(cast, machine("ingest", cast.ada), by=cast.ada, minutes=minutes)
    return decide.approve(request, by=cast.chiara).grants.get()
