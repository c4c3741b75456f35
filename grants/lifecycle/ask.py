"""Ask for access. preview() and ask() share one evaluation, so that the form shows what sending it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import service_identities, typed
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Resource
from grants.lifecycle import access
from grants.lifecycle.models import Request, RequestItem
from grants.lifecycle.sentences import Says, denied
from grants.lifecycle.stages import Approvers, StageView
from grants.lifecycle.states import State, move
from grants.policy import ownership, rules
from grants.policy.people import asker_of
from grants.policy.rulings import Allowed, Denied, Ruling
from grants.policy.wording import duration as in_words
from grants.references import ref

ITEMS_MAX = 20
REASON_MAX = 4096


class Wanted(NamedTuple):
    resource: Resource
    level: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen if the request were sent now."""

    ruling: Ruling
    stages: tuple[StageView, ...]
    duration: timedelta | None
    ends_at: datetime | None  # if approved at once
    drain_until: datetime | None  # until when `work` may still report; None without a drain
    lapses_at: datetime
    policy_version: int  # 0: none is in force
    refusal: NotAllowed | None  # why it cannot be sent; None when it can

    @property
    def problem(self) -> str:
        """The refusal in a sentence; "" when the request can be sent."""
        return self.refusal.reason if self.refusal else ""


def preview(
    items: Sequence[Wanted], *, by: Subject, beneficiary: Subject | None = None, duration: timedelta | None = None
) -> Preview:
    """Judge a request by the policy in force, for oneself or for a service identity of one of one's teams.

    Without a duration, the default of the rules is used.
    """
    now = clock.of_page()
    approvers = Approvers.now()
    beneficiary = beneficiary or by
    ruling = _rule(approvers, items, by, beneficiary)
    stages: tuple[StageView, ...] = ()
    if isinstance(ruling, Allowed):
        facts = {item.resource.pk: ownership.facts_of(item.resource) for item in items}
        stages = approvers.views(ruling.stages, facts, frozenset({by.pk, beneficiary.pk}))
        duration = ruling.default if duration is None else duration
    ends_at = now + duration if duration and timedelta(0) < duration <= timedelta(days=3650) else None
    drain = ruling.drain if isinstance(ruling, Allowed) else None
    return Preview(
        ruling=ruling,
        stages=stages,
        duration=duration,
        ends_at=ends_at,
        drain_until=ends_at + drain if ends_at and drain else None,
        lapses_at=now + timedelta(days=settings.ENV.request_lapses_days),
        policy_version=approvers.policy.number if approvers.policy else 0,
        refusal=_refusal(ruling, stages, duration),
    )


def ask(
    items: Sequence[Wanted],
    *,
    by: Subject,
    beneficiary: Subject | None = None,
    duration: timedelta,
    reason: str,
    idempotency_key: str,
) -> Request:
    """File a request, for oneself or for a service identity of one of one's teams.

    The same key with the same contents returns the same request. Raises NotAllowed (the policy, the text of the
    reason, a pending request for the same thing) or Conflict (the key was used for something else).
    """
    asked = _Asked(items, by, beneficiary or by, duration, reason.strip(), idempotency_key)
    if sent := _sent_before(asked):
        return sent
    seen = preview(items, by=by, beneficiary=beneficiary, duration=duration)
    if seen.refusal:
        raise seen.refusal
    assert isinstance(seen.ruling, Allowed)  # otherwise there is a refusal
    if hidden := typed.hidden_in(asked.reason):
        raise NotAllowed(Says.REASON_HIDES, character=hidden)
    has = typed.seen_in(asked.reason)
    if has < seen.ruling.reason_min or len(asked.reason) > REASON_MAX:
        raise NotAllowed(Says.REASON_LENGTH, least=seen.ruling.reason_min, most=REASON_MAX, has=has)
    try:
        with transaction.atomic():
            return _file(asked, seen, seen.ruling)
    except IntegrityError as error:
        if sent := _sent_before(asked):
            return sent
        raise _why_refused(error, asked) from error


class _Asked(NamedTuple):
    items: Sequence[Wanted]
    by: Subject
    beneficiary: Subject
    duration: timedelta
    reason: str
    key: str


def _rule(approvers: Approvers, items: Sequence[Wanted], by: Subject, beneficiary: Subject) -> Ruling:
    if not items:
        return denied(Says.NO_ITEMS)
    if len(items) > ITEMS_MAX:
        return denied(Says.TOO_MANY, most=ITEMS_MAX)
    if len({(item.resource.pk, item.level) for item in items}) < len(items):
        return denied(Says.TWICE)
    if retired := [item.resource.name for item in items if item.resource.retired_at]:
        return denied(Says.RETIRED, names=", ".join(retired))
    if not by.active:
        return denied(Says.YOU_INACTIVE)
    if not service_identities.acts_for(by, beneficiary):
        return denied(Says.ON_BEHALF)
    if not beneficiary.active:
        return denied(Says.INACTIVE, name=beneficiary.name)
    person = asker_of(beneficiary)
    if approvers.policy is None or person is None:
        return denied(Says.NO_POLICY)
    asked = [(ownership.facts_of(item.resource), item.level) for item in items]
    return rules.rule_on_all(approvers.policy, asked, person)


def _refusal(ruling: Ruling, stages: Sequence[StageView], duration: timedelta | None) -> NotAllowed | None:
    if isinstance(ruling, Denied):
        return NotAllowed(Says.DENIED, reason=ruling.reason, why=ruling.code)
    if duration is None or duration < timedelta(minutes=1):
        return NotAllowed(Says.TOO_SHORT)
    if duration > ruling.longest:
        rule = ruling.because.get("longest", "")
        return NotAllowed(Says.TOO_LONG, longest=in_words(ruling.longest), rule=rule)
    for view in stages:
        if view.short:
            can = len(view.approvers)
            if can >= view.stage.need:
                return NotAllowed(Says.TOO_FEW_FOR_ALL, stage=view.stage.title)
            if not can:
                return NotAllowed(Says.NOBODY_APPROVES, stage=view.stage.title)
            return NotAllowed(Says.TOO_FEW_APPROVE, stage=view.stage.title, can=can, need=view.stage.need)
    return None


def _file(asked: _Asked, seen: Preview, ruling: Allowed) -> Request:
    now = clock.now()
    request = Request.objects.create(
        requester=asked.by,
        beneficiary=asked.beneficiary,
        stages=[stage.to_json() for stage in ruling.stages],
        policy_version_id=seen.policy_version,
        reason=asked.reason,
        asked_at=now,
        lapses_at=now + timedelta(days=settings.ENV.request_lapses_days),
        duration=asked.duration,
        idempotency_key=asked.key,
    )
    # Always in this order, so that two requests for the same things queue instead of deadlocking.
    for item in sorted(asked.items, key=lambda item: (item.resource.pk, item.level)):
        RequestItem.objects.create(
            request=request, beneficiary=asked.beneficiary, resource=item.resource, level=item.level
        )
    facts: dict[str, Any] = {
        "request": request.pk,
        "items": [f"{item.resource.pk}:{item.level}" for item in asked.items],
        "minutes": int(asked.duration.total_seconds()) // 60,
        "policy": seen.policy_version,
    }
    if asked.beneficiary != asked.by:
        facts["subject"] = asked.beneficiary.pk
    if ruling.stages:
        record(Verb.REQUEST_ASKED, by=asked.by, **facts)
        return request
    # The policy says explicitly that no approval is needed (`stages: []`).
    move(request, State.APPROVED, now=now)
    opened = access.open_grants(request, now=now, drain=ruling.drain)
    record(Verb.REQUEST_ASKED, by=asked.by, **facts)
    granted = facts | {"subject": asked.beneficiary.pk}
    record(Verb.REQUEST_GRANTED_BY_POLICY, by=ref("policy", seen.policy_version), on=opened, **granted)
    return request


def _sent_before(asked: _Asked) -> Request | None:
    request = Request.objects.filter(requester=asked.by, idempotency_key=asked.key).first()
    if request is None:
        return None
    had = {(item.resource_id, item.level) for item in request.items.all()}
    same = had == {(item.resource.pk, item.level) for item in asked.items}
    same = same and request.beneficiary_id == asked.beneficiary.pk
    if same and request.duration == asked.duration and request.reason == asked.reason:
        return request
    raise Conflict(Says.SENT_BEFORE, request=request.ref)


def _why_refused(error: IntegrityError, asked: _Asked) -> Exception:
    if "item_one_pending_ask" not in str(error):
        return error
    already = Says.YOU_ASKED_ALREADY if asked.beneficiary == asked.by else Says.TEAM_ASKED_ALREADY
    for item in asked.items:
        pending = RequestItem.objects.filter(
            beneficiary=asked.beneficiary, resource=item.resource, level=item.level, state=State.PENDING
        ).first()
        if pending:
            return NotAllowed(
                already, level=item.level, name=item.resource.name, request=ref("request", pending.request_id)
            )
    return Conflict(Says.JUST_DECIDED)
