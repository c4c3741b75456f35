"""One request with its story, as one person sees it: what pages, the API and the command line say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts import profile
from accounts.models import Subject
from grants import clock
from grants.lifecycle import along, decide, standing, visibility
from grants.lifecycle.access import enders_of
from grants.lifecycle.models import Decision, Grant, Request, RequestItem
from grants.lifecycle.read_models import history
from grants.lifecycle.stages import Approvers, StageView, current
from grants.lifecycle.standing import Standing
from grants.policy.rulings import Source


@dataclass(frozen=True, slots=True)
class AskedBecause:
    """Why somebody is asked to decide a stage."""

    view: StageView
    source: Source | None  # names them; None: they stand in, or their teams have changed


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as its viewer sees it at `now`."""

    request: Request
    viewer: Subject
    now: datetime
    standing: Standing
    items: Sequence[RequestItem]
    stages: tuple[StageView, ...]
    decisions: Sequence[Decision]
    grants: Sequence[Grant]
    enders: Mapping[int, Subject]  # who ended a grant before its time, by its id
    pending: bool
    refusal: str  # why the viewer can't decide it; "" when they can, or when it is closed
    may_still_deny: bool
    held: Sequence[Grant]  # what the beneficiary holds of the same things, as far as the viewer sees that
    earlier: Sequence[history.Row]  # what was asked before of the same things

    @property
    def may_decide(self) -> bool:
        return self.pending and not self.refusal

    @property
    def may_withdraw(self) -> bool:
        return self.pending and self.viewer.pk == self.request.requester_id

    @property
    def mine(self) -> bool:
        return self.viewer.pk == self.request.beneficiary_id

    @property
    def would_end(self) -> datetime | None:
        """When access would end if the request were approved now."""
        return self.now + self.request.duration if self.pending else None

    @property
    def asked_because(self) -> AskedBecause | None:
        """Why the viewer may decide; None where they may not."""
        view = current(self.stages) if self.may_decide else None
        if view is None:
            return None
        naming = (source for source in view.stage.sources if not view.fallback and _names(source, self.viewer))
        return AskedBecause(view, next(naming, None))


def of(request: Request, viewer: Subject) -> RequestView:
    """Read what there is to say of a request that `viewer` may see (visibility.request_of)."""
    now, approvers = clock.of_page(), Approvers.now()
    earlier = visibility.before(viewer, request)
    along.decisions_of([request, *(item.request for item in earlier)])
    grants = along.grants_of([request])
    things = {item.resource_id: item.resource for item in request.items.all()}
    for grant in grants:
        grant.resource = things[grant.resource_id]
    stages = approvers.of(request)
    pending = standing.of_item(request, None, now).state == Request.State.PENDING
    return RequestView(
        request=request,
        viewer=viewer,
        now=now,
        standing=standing.of_request(request, grants, now),
        items=list(request.items.all()),
        stages=stages,
        decisions=list(request.decisions.all()),
        grants=grants,
        enders=enders_of(grants),
        pending=pending,
        refusal=decide.why_not(request, viewer, approvers) if pending else "",
        may_still_deny=pending and decide.has_voted(request, viewer),
        held=_held(request, viewer) if pending else [],
        earlier=history.rows(earlier, now),
    )


def _held(request: Request, viewer: Subject) -> list[Grant]:
    things = {item.resource_id for item in request.items.all()}
    held = [grant for grant in visibility.held_by(request.beneficiary) if grant.resource_id in things]
    return sorted(visibility.shown(viewer, held), key=lambda grant: grant.pk)


def _names(source: Source, viewer: Subject) -> bool:
    """Whether this source names the viewer. It only explains; who may decide is the policy's."""
    mine = profile.of(viewer)
    if mine is None or source.kind == "owners":
        return source.kind == "owners"
    return source.value in (mine.teams if source.kind == "team" else (f"{mine.idp}:{mine.external_id}",))
