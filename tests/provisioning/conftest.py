from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from accounts.models import IdP
from grants.audit.models import AuditEvent
from grants.lifecycle import decide
from grants.lifecycle.models import Grant, RoleBinding
from grants.provisioning.health import Providers
from grants.provisioning.reconcile import reconcile
from tests.cast import Cast
from tests.provisioning.fake import FakeIdP

type Reconcile = Callable[[], int]
type Move = Callable[[datetime | timedelta | None], datetime]

ADA = "id-ada"  # at the provider
RECHECK = timedelta(seconds=11)


@pytest.fixture
def idp(cast: Cast) -> FakeIdP:
    """The cast's provider gives roles, and is this fake."""
    IdP.objects.filter(pk=cast.idp.pk).update(kind="demo")
    return FakeIdP()


@pytest.fixture
def run(idp: FakeIdP) -> Reconcile:
    """What a worker that has just started does in a turn."""
    return lambda: reconcile(connect=lambda _idp: idp, providers=Providers())


def granted(cast: Cast, level: str = "run", minutes: int = 30) -> Grant:
    """Ada has this much of the deployment."""
    request = cast.asks(cast.ada, (cast.deployment, level), minutes=minutes)
    return decide.approve(request, by=cast.chiara).grants.get()


def binding(grant: Grant) -> RoleBinding:
    return RoleBinding.objects.get(role=grant.role)


def verbs() -> list[str]:
    """What the record says of bindings, in order."""
    return list(AuditEvent.objects.filter(verb__startswith="binding.").order_by("seq").values_list("verb", flat=True))
