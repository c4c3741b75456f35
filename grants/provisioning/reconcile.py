"""Reconcile due bindings: read, commit the intent, call, read back, confirm. Many people at once, each in order.

Only this thread uses the database; the others only call the provider. Meanwhile this one confirms what they answered
and leases what is next, so that neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from django.db import InterfaceError, OperationalError

from grants.adapters.idp.base import RoleProvider
from grants.identity.providers import connect
from grants.lifecycle.bindings import Urgency
from grants.provisioning import leases, waiting
from grants.provisioning.calls import BACKLOG, CALLS, Calls, Failure, NotBegun
from grants.provisioning.health import Providers
from grants.provisioning.leases import Lease, Result

log = structlog.get_logger(__name__)

_providers = Providers()  # as this process sees them
_unfinished: list[Calls] = []  # of turns that lost the database


def reconcile(
    limit: int = 100,
    *,
    connect: Callable[[int], RoleProvider] = connect,
    more: Callable[[], bool] = lambda: False,
    providers: Providers = _providers,
    unfinished: list[Calls] = _unfinished,
) -> int:
    """Reconcile up to `limit` due bindings; return how many were taken up. Any number of workers may do so at once.

    While `more` returns True, as many again are leased whenever threads are free, until nothing is due. When the
    database is lost, the next turn writes down what has been called: the role may have been given, and no row would
    say so.
    """
    calls = unfinished.pop() if unfinished else Calls(connect, providers.__getitem__)
    try:
        taken = _take_up(calls, providers, limit)
        while calls.in_hand:
            _write_down(calls, providers)
            if more():
                taken += _take_up(calls, providers, limit)
            else:
                calls.more_is_due(False)
    except (OperationalError, InterfaceError):
        unfinished.append(calls)
        raise
    return taken


def seconds_to_next(providers: Providers = _providers) -> float | None:
    """Return the seconds until there is something to do; None when there will be nothing."""
    soon = waiting.seconds_to_next(but=providers.shut()), providers.seconds_to_try()
    return min((seconds for seconds in soon if seconds is not None), default=None)


def _take_up(calls: Calls, providers: Providers, limit: int) -> int:
    """Lease what is due and begin its calls. With enough in hand, only what ended early: nobody wants it any more."""
    taken = 0
    for idp_id, health, many in providers.to_try():
        health.failing = waiting.try_sooner(idp_id, many)
        if health.shut:
            urgencies = sorted(Urgency, reverse=health.urgent_last)
            count, ours = leases.acquire(many, urgencies=urgencies, only=idp_id)
            calls.begin(ours, trial=True)
            taken += count
    if calls.to_do < BACKLOG:
        count, ours = leases.acquire(limit, but=providers.shut())
        calls.more_is_due(count >= limit)
    elif calls.urgent < BACKLOG:
        count, ours = leases.acquire(CALLS, urgencies=[Urgency.ENDED], but=providers.shut())
    else:
        return taken
    calls.begin(ours)
    return taken + count


def _write_down(calls: Calls, providers: Providers) -> None:
    """Write down the answers: the intent to give after a look, a confirmed result, a failure with its reason."""
    answers = calls.answers()
    if looked := [(lease, answer) for lease, answer in answers if isinstance(answer, bool)]:
        ours = leases.intend_to_give(looked)
        calls.written(looked)
        calls.begin(ours)
    if done := [(lease, answer) for lease, answer in answers if isinstance(answer, Result)]:
        leases.confirm(done)
        calls.written(done)
    if failed := [(lease, answer) for lease, answer in answers if isinstance(answer, Failure)]:
        leases.fail([(lease, failure.reason) for lease, failure in failed])
        calls.written(failed)
    if late := [(lease, answer) for lease, answer in answers if isinstance(answer, NotBegun)]:
        leases.release([lease for lease, _ in late])
        calls.written(late)
    _learn(providers, [lease for lease, _ in done], failed)


def _learn(providers: Providers, done: Sequence[Lease], failed: Sequence[tuple[Lease, Failure]]) -> None:
    """Update the health of the providers: make failed bindings due when one is back, and log those that are late."""
    for lease, failure in failed:
        told = {"binding": lease.id, "step": lease.next.name.lower(), "reason": failure.reason}
        log.debug("binding_not_reconciled", **told)
        providers[lease.idp_id].failed(failure.reason, its_own=failure.of_provider, answered=failure.answered)
    for lease in done:
        if providers[lease.idp_id].succeeded(after_failure=lease.again):
            waiting.release(lease.idp_id)
    for idp_id in {lease.idp_id for lease, _ in failed}:
        health = providers[idp_id]
        if health.may_tell() and (overdue := waiting.overdue(idp_id)):
            log.error("roles_overdue", idp=idp_id, overdue=overdue, **health.told())
