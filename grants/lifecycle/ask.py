"""Ask for access. What the form shows before sending and what sending does are one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Subject
from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Resource
from grants.lifecycle import hold
from grants.lifecycle.errors import Conflict, NotAllowed
from grants.lifecycle.models import Request, RequestItem
from grants.lifecycle.stages import Judges, StageView
from grants.lifecycle.states import State, move
from grants.policy import rules, versions
from grants.policy.rulings import Allowed, Denied, Ruling

ITEMS_MAX = 20
REASON_MAX = 4096


class Wanted(NamedTuple):
    resource: Resource
    level: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen if this were sent now."""

    ruling: Ruling
    stages: tuple[StageView, ...]
    duration: timedelta | None
    ends_at: datetime | None  # if approved at once
    lapses_at: datetime
    policy_version: int  # 0: none is in force
    problem: str  # why it can't be sent, in a sentence; "" when it can


def preview(items: Sequence[Wanted], *, by: Subject, duration: timedelta | None = None) -> Preview:
    """Judge an ask by the policy in force. Without a duration, the rules' default is taken."""
    now = clock.now()
    judges = Judges.now()
    ruling = _rule(judges, items, by)
    stages: tuple[StageView, ...] = ()
    if isinstance(ruling, Allowed):
        facts = {item.resource.pk: versions.facts_of(item.resource) for item in items}
        stages = judges.views(ruling.stages, facts, frozenset({by.pk}))
        duration = ruling.default if duration is None else duration
    return Preview(
        ruling=ruling,
        stages=stages,
        duration=duration,
        ends_at=now + duration if duration and timedelta(0) < duration <= timedelta(days=3650) else None,
        lapses_at=now + timedelta(days=settings.ENV.request_lapses_days),
        policy_version=judges.policy.version if judges.policy else 0,
        problem=_problem(ruling, stages, duration),
    )


def ask(items: Sequence[Wanted], *, by: Subject, duration: timedelta, reason: str, idempotency_key: str) -> Request:
    """File a request, for oneself. The same key with the same contents answers with the same request.

    Raises NotAllowed (the policy, the reason's length, a pending ask for the same thing) or Conflict (the
    key was used for something else).
    """
    reason = reason.strip()
    if sent := _sent_before(items, by, duration, reason, idempotency_key):
        return sent
    seen = preview(items, by=by, duration=duration)
    if isinstance(seen.ruling, Denied) or seen.problem:
        raise NotAllowed(seen.problem)
    if not seen.ruling.reason_min <= len(reason) <= REASON_MAX:
        raise NotAllowed(f"Say why in {seen.ruling.reason_min} to {REASON_MAX} characters; this has {len(reason)}.")
    try:
        with transaction.atomic():
            return _file(items, by, duration, reason, idempotency_key, seen, seen.ruling)
    except IntegrityError as error:
        if sent := _sent_before(items, by, duration, reason, idempotency_key):
            return sent
        raise _why_refused(error, items, by) from error


def _rule(judges: Judges, items: Sequence[Wanted], by: Subject) -> Ruling:
    if not items:
        return Denied("no_items", "Choose what you want access to.")
    if len(items) > ITEMS_MAX:
        return Denied("too_many", f"A request holds {ITEMS_MAX} items at most.")
    if len({(item.resource.pk, item.level) for item in items}) < len(items):
        return Denied("twice", "The same thing is in the request twice.")
    if retired := [item.resource.name for item in items if item.resource.retired_at]:
        return Denied("retired", f"{', '.join(retired)} is gone from its orchestrator.")
    if not by.active:
        return Denied("inactive", "Your account is switched off.")
    person = versions.person_of(by)
    if judges.policy is None or person is None:
        return Denied("no_policy", "No policy is in force, so nothing can be asked for. Tell an admin.")
    asked = [(versions.facts_of(item.resource), item.level) for item in items]
    return rules.rule_on_all(judges.policy, asked, person)


def _problem(ruling: Ruling, stages: Sequence[StageView], duration: timedelta | None) -> str:
    if isinstance(ruling, Denied):
        return ruling.reason
    if duration is None or duration < timedelta(minutes=1):
        return "Ask for one minute or more."
    if duration > ruling.longest:
        rule = ruling.because.get("longest", "")
        return f"The longest here is {_words(ruling.longest)}, by rule {rule}: choose that or less."
    for view in stages:
        if view.short:
            can = len(view.approvers)
            if can >= view.stage.need:
                return (
                    f"Too few can approve all of this ({view.stage.title}, after the stages before): a person counts"
                    " once per request. Ask for the items one by one."
                )
            who = "Nobody can" if not can else f"Only {can} of the {view.stage.need} needed can"
            return f"{who} approve this now ({view.stage.title}). Tell an admin: the policy or the teams must change."
    return ""


def _words(length: timedelta) -> str:
    minutes = int(length.total_seconds()) // 60
    hours, minutes = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)


def _file(
    items: Sequence[Wanted],
    by: Subject,
    duration: timedelta,
    reason: str,
    key: str,
    seen: Preview,
    ruling: Allowed,
) -> Request:
    now = clock.now()
    request = Request.objects.create(
        requester=by,
        beneficiary=by,
        stages=[stage.to_json() for stage in ruling.stages],
        policy_version_id=seen.policy_version,
        reason=reason,
        asked_at=now,
        lapses_at=now + timedelta(days=settings.ENV.request_lapses_days),
        duration=duration,
        idempotency_key=key,
    )
    # In one order, so that two asks for the same things queue instead of deadlocking.
    for item in sorted(items, key=lambda item: (item.resource.pk, item.level)):
        RequestItem.objects.create(request=request, beneficiary=by, resource=item.resource, level=item.level)
    facts: dict[str, Any] = {
        "request": request.pk,
        "items": [f"{item.resource.pk}:{item.level}" for item in items],
        "minutes": int(duration.total_seconds()) // 60,
        "policy": seen.policy_version,
    }
    if ruling.stages:
        record(Verb.REQUEST_ASKED, by=by, **facts)
        return request
    # The policy says, in so many words, that nobody needs to be asked.
    move(request, State.APPROVED, now=now)
    record(Verb.REQUEST_APPROVED, by=by, on=hold.open_grants(request, now=now), **facts)
    return request


def _sent_before(items: Sequence[Wanted], by: Subject, duration: timedelta, reason: str, key: str) -> Request | None:
    request = Request.objects.filter(requester=by, idempotency_key=key).first()
    if request is None:
        return None
    had = {(item.resource_id, item.level) for item in request.items.all()}
    same = had == {(item.resource.pk, item.level) for item in items}
    if same and request.duration == duration and request.reason == reason:
        return request
    raise Conflict(f"This form was sent already, as {request.ref}, with other contents. Open a new one.")


def _why_refused(error: IntegrityError, items: Sequence[Wanted], by: Subject) -> Exception:
    if "item_one_pending_ask" not in str(error):
        return error
    for item in items:
        pending = RequestItem.objects.filter(
            beneficiary=by, resource=item.resource, level=item.level, state=State.PENDING
        ).first()
        if pending:
            return NotAllowed(
                f"You asked for {item.level} on {item.resource.name} already: R-{pending.request_id} is pending."
            )
    return Conflict("Somebody decided this a moment ago. Send it again.")
