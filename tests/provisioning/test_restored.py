"""While it is not known what was given after a backup, nothing is judged to be somebody's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from grants.adapters.idp.base import DirectoryPerson
from grants.adapters.idp.revoke_only import RevokeOnly
from grants.lifecycle import access
from grants.lifecycle.models import RoleBinding
from grants.provisioning import leftovers
from grants.provisioning.health import Providers
from grants.provisioning.reconcile import reconcile
from tests.cast import Cast
from tests.provisioning.conftest import Reconcile, binding, granted
from tests.provisioning.fake import FakeIdP

type Move = Callable[[datetime | timedelta | None], datetime]
pytestmark = pytest.mark.usefixtures("commits")


class Provider(FakeIdP):
    def people(self) -> list[DirectoryPerson]:
        return [DirectoryPerson(one, one, one, "", enabled=True, groups=()) for one in sorted(self.roles)]


@pytest.fixture
def idp(idp: FakeIdP) -> FakeIdP:
    return Provider()


def test_a_role_of_the_lost_seconds_is_not_taken_for_their_own(
    cast: Cast, idp: Provider, run: Reconcile, at: Move
) -> None:
    """Given by Stint after the backup; a grant wants it again before anybody has looked at what was left."""
    grant = granted(cast)
    idp.roles["id-ada"] = {grant.role}
    reconcile(connect=lambda _idp: RevokeOnly(idp, "Not yet."), providers=Providers())
    now = binding(grant)
    assert (now.phase, now.found_before, now.last_error) == ("absent", None, "Not yet.")

    leftovers.adopt_leftovers(cast.idp, idp)
    at(timedelta(seconds=20))
    run()
    now = binding(grant)
    assert (now.phase, now.found_before) == ("present", False)
    access.revoke(grant, by=cast.priya)
    run()
    assert idp.roles["id-ada"] == set()
    assert binding(grant).phase == "absent"


def test_what_stands_is_still_taken(cast: Cast, idp: Provider, run: Reconcile) -> None:
    grant = granted(cast)
    run()
    access.revoke(grant, by=cast.priya)
    reconcile(connect=lambda _idp: RevokeOnly(idp, "Not yet."), providers=Providers())
    assert idp.roles["id-ada"] == set()
    assert RoleBinding.objects.get().last_error == ""
