"""Tell a request step by step: asked, decided, granted, over, and what is still to come.

Pure but for what it is given; the pages render the steps (partials/r_timeline.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from accounts.models import Subject
from grants.lifecycle import standing
from grants.lifecycle.models import Decision, Grant, Request
from grants.lifecycle.stages import StageView, current, left_to_decide
from grants.policy.wording import duration
from grants.web.words import counts


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline: `who` in bold, `what`, then `about` in small print."""

    icon: str
    what: str
    who: tuple[str, ...] = ()
    tone: str = ""  # data-state
    at: datetime | None = None
    about: str = ""
    note: str = ""
    rail: str = ""  # "", "live", "ahead" (what follows is still to come), "next" (still to come)
    names: tuple[str, ...] = field(default=())  # people after `what`


def steps(
    request: Request,
    stages: Sequence[StageView],
    decisions: Sequence[Decision],
    grants: Sequence[Grant],
    *,
    viewer: Subject,
    now: datetime,
    enders: Mapping[int, Subject],
    with_reason: bool = False,
) -> list[Step]:
    """List the steps as `viewer` reads them. `enders`: who ended a grant, by its id."""
    told = [_asked(request, viewer, with_reason=with_reason)]
    told += [_decided(decision, request, viewer) for decision in decisions]
    if closing := _closing(request, stages, viewer, now):
        told.append(closing)
    if grants:
        told += _held(grants, now, {pk: name_of(who, viewer) for pk, who in enders.items()})
    elif standing.of_item(request, None, now).state == "pending":
        told += _ahead(request, stages, viewer)
    return told


def name_of(subject: Subject, viewer: Subject) -> str:
    return "You" if subject.pk == viewer.pk else subject.name


def _asked(request: Request, viewer: Subject, *, with_reason: bool) -> Step:
    return Step(
        icon="message-square",
        tone="info",
        who=(name_of(request.requester, viewer),),
        what="asked" if request.requester_id == request.beneficiary_id else f"asked for {request.beneficiary.name}",
        at=request.asked_at,
        note=request.reason if with_reason else "",
    )


def _decided(decision: Decision, request: Request, viewer: Subject) -> Step:
    yes = decision.verdict == Decision.Verdict.APPROVE
    took_back = " and changed their mind" if decision.superseded else ""
    return Step(
        icon="check" if yes else "x",
        tone="granted" if yes else "denied",
        who=(name_of(decision.approver, viewer),),
        what=("approved" if yes else "denied") + took_back,
        at=decision.at,
        about=_after(decision.at - request.asked_at),
        note=decision.note,
    )


def _after(waited: timedelta) -> str:
    return f"after {duration(waited)}" if waited >= timedelta(minutes=1) else ""


def _closing(request: Request, stages: Sequence[StageView], viewer: Subject, now: datetime) -> Step | None:
    if request.state == Request.State.WITHDRAWN:
        who = (name_of(request.requester, viewer),)
        return Step("undo-2", "withdrew the request", who, "withdrawn", request.closed_at)
    if standing.of_item(request, None, now).state == "lapsed":
        at = min(request.closed_at or request.lapses_at, request.lapses_at)
        return Step("alarm-clock-off", "Nobody decided in time", tone="lapsed", at=at)
    if request.state == Request.State.APPROVED and not stages:
        return Step("check", "Approved by the policy: nobody needs to be asked", tone="granted", at=request.closed_at)
    return None


def _ahead(request: Request, stages: Sequence[StageView], viewer: Subject) -> list[Step]:
    """List what a pending request waits for: the dotted part of the line."""
    view = current(stages)
    return [
        *(_awaited(view, stages, viewer) if view else ()),
        Step("key-round", "Access begins", about="as soon as it is approved", rail="next"),
        Step("timer-off", "Access ends", about=f"{duration(request.duration)} later", rail="next"),
    ]


def _awaited(view: StageView, stages: Sequence[StageView], viewer: Subject) -> Iterator[Step]:
    left = left_to_decide(view, stages)
    mine = viewer.pk in {approver.pk for approver in left}
    names = ("you",) * mine + tuple(approver.name for approver in left if approver.pk != viewer.pk)
    if names:
        yield Step("bell", "Asked", names=names, about="to decide", rail="ahead")
    needed = need_words(view.stage.need - len(view.given), len(left), mine=mine)
    yield Step("hourglass", "Your decision" if mine else "Their decision", tone="pending", about=needed, rail="next")
    for later in stages[view.number + 1 :]:
        yield Step("hourglass", "Then", names=(later.stage.title,), tone="pending", rail="next")


def _held(grants: Sequence[Grant], now: datetime, enders: Mapping[int, str]) -> list[Step]:
    live = any(grant.is_live_at(now) for grant in grants)
    began = Step(
        icon="key-round",
        what="Access began",
        tone="granted" if live else "ended",
        at=grants[0].starts_at,
        rail="live" if live else "",
    )
    # Items of one request mostly end together; then they are one line.
    ends: dict[tuple[datetime, str, str], list[Grant]] = {}
    for grant in sorted(grants, key=lambda grant: grant.over_at):
        ends.setdefault((grant.over_at, grant.end_reason or "", enders.get(grant.pk, "")), []).append(grant)
    return [began, *(_end(*end, some=some, every=grants, now=now) for end, some in ends.items())]


def _end(
    at: datetime, reason: str, ender: str, *, some: Sequence[Grant], every: Sequence[Grant], now: datetime
) -> Step:
    about = "" if len(some) == len(every) else f"on {counts.joined([grant.resource.name for grant in some])}"
    if now < at:
        return Step("timer-off", "Access ends", at=at, about=about, rail="next")
    if ender and reason == Grant.EndReason.GIVEN_BACK:
        return Step("timer-off", "gave the access back", (ender,), "ended", at, about)
    if ender and reason == Grant.EndReason.REVOKED:
        return Step("timer-off", "revoked the access", (ender,), "ended", at, about)
    why = {Grant.EndReason.LEFT: ": the person left", Grant.EndReason.RETIRED: ": the resource is gone"}
    what = f"Access ended{why[Grant.EndReason(reason)]}" if reason in why else "Access ended"
    return Step("timer-off", what, tone="ended", at=at, about=about)


def need_words(missing: int, can: int, *, mine: bool) -> str:
    """Say how many approvals are missing: "one of three is enough", "all two are needed"."""
    if can == 0:
        return "nobody can decide now; tell an admin"
    if missing > can:
        return f"{counts.number(missing)} are needed, only {counts.number(can)} can; tell an admin"
    if missing == can:
        alone = "nobody else can" if mine else "nobody else is asked"
        return alone if can == 1 else f"all {counts.number(can)} are needed"
    return f"{counts.number(missing)} of {counts.number(can)} {'is enough' if missing == 1 else 'are needed'}"
