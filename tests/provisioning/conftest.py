from __future__ import annotations

from collections.abc import Callable

import pytest

from accounts.models import IdP
from grants.lifecycle import decide
from grants.lifecycle.models import Grant, RoleBinding
from grants.provisioning.health import Providers
from grants.provisioning.settle import settle
from tests.cast import Cast
from tests.provisioning.fake import FakeIdP

type Settle = Callable[[], int]


@pytest.fixture
def idp(cast: Cast) -> FakeIdP:
    """The cast's provider gives roles, and is this fake."""
    IdP.objects.filter(pk=cast.idp.pk).update(kind="demo")
    return FakeIdP()


@pytest.fixture
def run(idp: FakeIdP) -> Settle:
    """What a worker that has just started does in a turn."""
    return lambda: settle(connect=lambda _idp: idp, providers=Providers())


def granted(cast: Cast, level: str = "run", minutes: int = 30) -> Grant:
    """Ada has this much of the deployment."""
    request = cast.asks(cast.ada, (cast.deployment, level), minutes=minutes)
    return decide.approve(request, by=cast.chiara).grants.get()


def binding(grant: Grant) -> RoleBinding:
    return RoleBinding.objects.get(role=grant.role)
