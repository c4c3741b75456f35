"""Decide on a request: approve, deny or withdraw it, or let it lapse; each in one transaction with one event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db import transaction
from django.db.models import JSONField, OuterRef, Q, QuerySet
from django.db.models.functions import JSONObject

from accounts import typed
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from accounts.request_cache import once_per_request
from accounts.written import Given, Written, a_row, among, read_along, rows
from grants import clock
from grants.audit import Event, Verb, record
from grants.catalog.models import Resource
from grants.clock import StintNow
from grants.lifecycle import access
from grants.lifecycle.models import Decision, Request, RequestItem
from grants.lifecycle.sentences import Says
from grants.lifecycle.stages import Approvers, StageView, current
from grants.lifecycle.states import State, closed, move
from grants.policy import ownership, rules
from grants.policy.people import asker_of, person_of
from grants.policy.reach import owned_by_given
from grants.policy.rulings import Allowed, Denied, Source

NOTE_MAX = 4096


def approve(request: Request, *, by: Subject, note: str = "") -> Request:
    """Approve the current stage; with the last approval of the last stage, access opens.

    Raises NotAllowed (not an approver, the policy in force no longer allows it) or Conflict (decided,
    lapsed, approved by this person already).
    """
    with transaction.atomic():
        request, now = _lock(request)
        approvers = Approvers.now()
        view = _stage_for(approvers, request, by)
        ruling = _still_allowed(approvers, request)
        decision = _decide(request, view, by, Decision.Verdict.APPROVE, note, approvers, now)
        last = current(approvers.of(request)) is None
        facts: dict[str, Any] = {"request": request.pk, "decision": decision.pk, "stage": view.number}
        if last:
            move(request, State.APPROVED, now=now)
            record(Verb.REQUEST_APPROVED, by=by, on=access.open_grants(request, now=now, drain=ruling.drain), **facts)
        else:
            record(Verb.REQUEST_VOTED, by=by, **facts)
    return request


def deny(request: Request, *, by: Subject, note: str = "") -> Request:
    """Deny a request; one approver is enough, also one who approved an earlier stage. Raises as approve() does."""
    with transaction.atomic():
        request, now = _lock(request)
        approvers = Approvers.now()
        votes = request.decisions.filter(superseded=False)
        mine = votes.filter(approver=by).first()
        view = current(approvers.of(request)) if mine else _stage_for(approvers, request, by)
        if view is None:
            raise Conflict(Says.ALL_APPROVED, request=request.ref)
        if mine:
            votes.filter(approver=by).update(superseded=True)
        decision = _decide(request, view, by, Decision.Verdict.DENY, note, approvers, now)
        move(request, State.DENIED, now=now)
        record(Verb.REQUEST_DENIED, by=by, request=request.pk, decision=decision.pk, stage=view.number)
    return request


def withdraw(request: Request, *, by: Subject) -> Request:
    """Withdraw a pending request. Raises NotAllowed for anybody but the requester, Conflict when it is decided."""
    if by.pk != request.requester_id:
        raise NotAllowed(Says.NOT_YOURS_TO_WITHDRAW)
    with transaction.atomic():
        request, now = _lock(request)
        move(request, State.WITHDRAWN, now=now)
        record(Verb.REQUEST_WITHDRAWN, by=by, request=request.pk)
    return request


def lapse(*, limit: int = 50) -> int:
    """Close requests that nobody decided in time, the oldest first; return how many. Called by the sweeper."""
    with transaction.atomic():
        now = clock.now()
        due = Request.objects.filter(state=State.PENDING, lapses_at__lte=now).order_by("pk")
        requests = list(due.select_for_update(skip_locked=True)[:limit])
        for request in requests:
            move(request, State.LAPSED, now=now)
        for request in requests:
            record(Verb.REQUEST_LAPSED, by="sweeper", request=request.pk)
    return len(requests)


def lapse_restored(requests: Sequence[Request], now: datetime) -> list[Event]:
    """Close requests that a restored backup made pending again, which the caller has locked; return the events."""
    for request in requests:
        move(request, State.LAPSED, now=now)
    return [Event(Verb.REQUEST_LAPSED, {"request": request.pk}) for request in requests]


def stages_of(request: Request) -> tuple[StageView, ...]:
    """Return the stages with the people who can decide each now and those who did."""
    return Approvers.now().of(request)


def why_not(request: Request, subject: Subject, approvers: Approvers) -> str:
    """Say in a sentence why this person cannot decide this request; "" when they can."""
    try:
        _open(request, clock.of_page())
        _stage_for(approvers, request, subject)
    except (NotAllowed, Conflict) as error:
        return error.reason
    return ""


def waiting_for(subject: Subject) -> list[Request]:
    """Return the pending requests that this person can decide now, the oldest first, with items and votes."""
    return once_per_request(("waiting for", subject.pk), lambda: _waiting_for(subject))


def _waiting_for(subject: Subject) -> list[Request]:
    person, approvers = person_of(subject), Approvers.now()
    if person is None or approvers.policy is None:
        return []
    sources = [Source("team", team) for team in sorted(person.teams)] + [Source("person", person.key)]
    named = [json.dumps([{where: [source._asdict()]}]) for where in ("from", "fallback") for source in sources]
    found: Any = _may_be_asked(named=named, teams=list(person.teams), key=person.key)
    pending: dict[int, list[Any]] = {}
    for item in _items(who=subject.pk, requests=[pk for (pk,) in found]) if found else ():
        pending.setdefault(item.request_id, []).append(item)
    requests = [_with(theirs) for theirs in pending.values()]
    return approvers.asked_among([request for request in requests if not has_voted(request, subject)], person)


def _with(items: list[Any]) -> Request:
    """The request of these items, with the items and its votes attached."""
    request: Request = items[0].request
    read_along(request, "items", items)
    read_along(request, "decisions", [Decision(request=request, **vote) for vote in items[0].votes])
    return request


@Written
def _may_be_asked() -> QuerySet[Any, Any]:
    """The ids of pending requests with a stage that can include the person; the rules judge whether one does.

    Two indexes on pending requests find them: on the stages, and on the resources.
    """
    about_owners = Q(stages__contains=[{"from": [{"kind": "owners"}]}])
    about_owners |= Q(stages__contains=[{"fallback": [{"kind": "owners"}]}])
    pending = Request.objects.filter(state=State.PENDING)
    owned = Resource.objects.filter(owned_by_given())
    theirs = RequestItem.objects.filter(state=State.PENDING, resource__in=owned)
    about = pending.filter(about_owners, pk__in=theirs.values("request"))
    naming = pending.filter(among("stages", Given("named", ArrayField(JSONField())), "@>"))
    return naming.values_list("pk").union(about.values_list("pk"))


@Written
def _items() -> QuerySet[RequestItem]:
    """The items of these requests that are pending and are not the person's own, with the votes on them."""
    votes = Decision.objects.filter(request=OuterRef("request")).order_by("pk")
    vote = JSONObject(pk="pk", approver_id="approver_id", stage="stage", verdict="verdict", superseded="superseded")
    theirs = Q(request__requester=a_row("who")) | Q(request__beneficiary=a_row("who"))
    return (
        RequestItem.objects.filter(~theirs, among("request_id", rows("requests")))
        .filter(request__state=State.PENDING, request__lapses_at__gt=StintNow())
        .select_related("request", "resource__connection")
        .annotate(votes=ArraySubquery(votes.values(vote=vote)))
        .order_by("request_id", "pk")
    )


def has_voted(request: Request, subject: Subject) -> bool:
    """Has this person approved or denied this request, and does that vote still count?"""
    return any(vote.approver_id == subject.pk and not vote.superseded for vote in request.decisions.all())


def _lock(request: Request) -> tuple[Request, datetime]:
    """Lock the request, on which simultaneous votes queue, and then read the clock."""
    locked = Request.objects.select_for_update(of=("self",)).get(pk=request.pk)
    now = clock.now()
    _open(locked, now)
    return locked, now


def _open(request: Request, now: datetime) -> None:
    if request.state != State.PENDING:
        last = request.decisions.filter(superseded=False).select_related("approver").order_by("-pk").first()
        decided = last is not None and request.state in (State.APPROVED, State.DENIED)
        raise closed(request, last.approver.name if last and decided else "")
    if now >= request.lapses_at:
        raise Conflict(Says.LAPSED, request=request.ref)


def _stage_for(approvers: Approvers, request: Request, by: Subject) -> StageView:
    """The stage that this person may decide now. Raises NotAllowed, or Conflict when they have approved already."""
    if by.pk == request.requester_id:
        raise NotAllowed(Says.OWN_REQUEST)
    if by.pk == request.beneficiary_id:
        raise NotAllowed(Says.OWN_ACCESS)
    if approvers.policy is None:
        raise NotAllowed(Says.NOTHING_DECIDES)
    view = current(approvers.of(request))
    if view is None or by.pk not in {approver.pk for approver in view.approvers}:
        raise NotAllowed(Says.NOT_ASKED if view else Says.NO_STAGE)
    if has_voted(request, by):
        raise Conflict(Says.VOTED)
    return view


def _still_allowed(approvers: Approvers, request: Request) -> Allowed:
    """Judge the request by the policy in force now, which may have changed since. Raises NotAllowed."""
    beneficiary = request.beneficiary
    items = list(request.items.select_related("resource__connection"))
    gone = [item.resource.name for item in items if item.resource.retired_at]
    if gone:
        raise NotAllowed(Says.GONE, names=", ".join(gone))
    person = asker_of(beneficiary)
    if person is None or approvers.policy is None:
        service = beneficiary.kind == Subject.Kind.SERVICE
        raise NotAllowed(Says.INACTIVE if service else Says.SWITCHED_OFF_THERE, name=beneficiary.name)
    asked = [(ownership.facts_of(item.resource), item.level) for item in items]
    ruling = rules.rule_on_all(approvers.policy, asked, person)
    if isinstance(ruling, Denied):
        raise NotAllowed(Says.POLICY_CHANGED, reason=ruling.reason, why=ruling.code)
    if request.duration > ruling.longest:
        raise NotAllowed(Says.POLICY_SHORTER)
    return ruling


def _decide(
    request: Request,
    view: StageView,
    by: Subject,
    verdict: Decision.Verdict,
    note: str,
    approvers: Approvers,
    now: datetime,
) -> Decision:
    note = note.strip()
    if hidden := typed.hidden_in(note):
        raise NotAllowed(Says.NOTE_HIDES, character=hidden)
    if len(note) > NOTE_MAX:
        raise NotAllowed(Says.NOTE_LENGTH, most=NOTE_MAX, has=len(note))
    return Decision.objects.create(
        request=request,
        requester_id=request.requester_id,
        beneficiary_id=request.beneficiary_id,
        stage=view.number,
        approver=by,
        verdict=verdict,
        note=note,
        policy_version_id=approvers.policy.number if approvers.policy else request.policy_version_id,
        at=now,
    )
