"""One grant, from its window to its end, as one person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts import service_identities
from accounts.models import Subject
from grants import clock
from grants.lifecycle import access, bindings, decide, standing, visibility
from grants.lifecycle.access import enders_of
from grants.lifecycle.models import Decision, Grant, Request, RoleBinding
from grants.lifecycle.stages import StageView
from grants.lifecycle.standing import Standing


@dataclass(frozen=True, slots=True)
class RoleGrants:
    """Other grants of the same role, which decide when it goes."""

    keeps: Grant | None  # holds it now
    outlived_by: Grant | None  # with whose end it was due to go
    visible: frozenset[int]  # the ids of those that the viewer may know by name


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant as its viewer sees it at `now`."""

    grant: Grant
    viewer: Subject
    now: datetime
    standing: Standing
    stages: tuple[StageView, ...]
    decisions: Sequence[Decision]
    enders: Mapping[int, Subject]  # who ended it before its time, by its id
    binding: RoleBinding | None  # None: its access lives at the gate alone
    role_grants: RoleGrants
    beside: Sequence[Grant]  # others on the same resource that are live and that the viewer sees
    may_give_back: bool
    may_revoke: bool

    @property
    def request(self) -> Request:
        return self.grant.request

    @property
    def over(self) -> bool:
        return self.standing.state == "ended"

    @property
    def mine(self) -> bool:
        return self.viewer.pk == self.grant.beneficiary_id


def of(grant: Grant, viewer: Subject) -> GrantView:
    """Read what there is to say of a grant that `viewer` may see (visibility.grant_of)."""
    now = clock.of_page()
    stood = standing.of_grant(grant, now)
    over = stood.state == "ended"
    stages = decide.stages_of(grant.request)
    beside, outlived_by = bindings.beside(grant, now), bindings.outlived_by(grant, now)
    shown = visibility.shown(viewer, [*beside, *filter(None, [outlived_by])])
    visible = frozenset(one.pk for one in shown)
    return GrantView(
        grant=grant,
        viewer=viewer,
        now=now,
        standing=stood,
        stages=stages,
        decisions=list(grant.request.decisions.all()),
        enders=enders_of([grant]),
        binding=bindings.of(grant),
        role_grants=RoleGrants(bindings.also_wants(grant, beside), outlived_by, visible),
        beside=[one for one in beside if one.pk in visible and one.resource_id == grant.resource_id],
        may_give_back=not over and service_identities.acts_for(viewer, grant.beneficiary),
        may_revoke=not over and access.may_revoke(grant, viewer),
    )
