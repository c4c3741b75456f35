"""`manage.py service`: identities from a shell, in their own name."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Subject
from grants.audit.models import AuditEvent
from grants.lifecycle.models import Grant, Request
from grants.policy import versions
from grants.tokens.delivery.base import status_of
from tests.cast import POLICY, Cast

pytestmark = pytest.mark.django_db

WORKERS = """
  - name: workers
    match: {kind: pool, level: work}
    ask: [{team: ingest}]
    levels: [work]
    duration: {default: 1h, longest: 24h}
    stages: %s
"""


def service(*arguments: str) -> str:
    out = StringIO()
    call_command("service", *arguments, stdout=out)
    return out.getvalue()


def wish(cast: Cast) -> list[str]:
    what = f"{cast.connection.slug}:pool:{cast.pool.name}"
    return ["ask", "etl worker", what, "work", "--hours", "2", "--why", "It runs the pool's deployments."]


def test_added_once_and_granted_where_nobody_needs_to_decide(cast: Cast) -> None:
    versions.apply(POLICY + WORKERS % "[]", by=None)
    policy = versions.in_force_row()
    assert policy is not None
    assert "added" in service("add", "etl worker", "--team", "ingest")
    assert "as it was" in service("add", "etl worker", "--team", "ingest")
    worker = Subject.objects.get(kind="service")
    assert AuditEvent.objects.get(verb="service.added").actor == "cli"
    assert "is granted" in service(*wish(cast))
    assert "holds it already" in service(*wish(cast))
    grant = Grant.objects.get(beneficiary=worker)
    assert AuditEvent.objects.get(verb="request.asked").actor == worker.ref
    assert AuditEvent.objects.get(verb="request.granted_by_policy").actor == policy.ref
    assert f"work on {cast.pool.name} until" in service("list")
    assert grant.drain_until > grant.ends_at
    assert f"below {worker.ref}/" in service("deliver", "etl worker")
    assert status_of(worker)
    assert AuditEvent.objects.latest("seq").actor == "cli"


def test_where_somebody_must_decide_it_waits(cast: Cast) -> None:
    versions.apply(POLICY + WORKERS % "[{need: 1, from: [owners]}]", by=None)
    service("add", "etl worker", "--team", "ingest")
    assert "waits for a decision" in service(*wish(cast))
    assert Request.objects.get().state == "pending"
    with pytest.raises(CommandError, match="already"):
        service(*wish(cast))


def test_whose_it_is_can_be_said(cast: Cast) -> None:
    """Any team may call a machine of its own like another's: that must not keep a script from the one it means."""
    versions.apply(POLICY + WORKERS % "[]", by=None)
    for team in ("ingest", "platform"):
        service("add", "etl worker", "--team", team)
    for arguments in (wish(cast), ["deliver", "etl worker"]):
        with pytest.raises(CommandError, match=r"2 service identities .* --team"):
            service(*arguments)
        service(*arguments, "--team", "ingest")
    worker = Subject.objects.get(kind="service", team__slug="ingest")
    assert Grant.objects.get().beneficiary == worker
    assert status_of(worker)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "x", "--team", "nobodies"], "no team nobodies"),
        (["add", " ", "--team", "ingest"], "Give it a name"),
        (["ask", "nobody", "a:pool:b", "work", "--hours", "1", "--why", "because"], "No service identities"),
        (["ask", "etl worker", "a:pool:b", "work", "--hours", "1", "--why", "because"], "No resources are called"),
    ],
)
def test_what_makes_no_sense_is_said(cast: Cast, arguments: list[str], said: str) -> None:
    service("add", "etl worker", "--team", "ingest")
    with pytest.raises(CommandError, match=said):
        service(*arguments)
