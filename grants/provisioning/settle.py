"""Settle what is due: read, commit the intent, call, read back, confirm. Many people at once, each in order.

Only this thread touches the database; the others only call the provider. While they do, it confirms what has been
answered and claims what comes next, so that neither waits for the other.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from grants.adapters.errors import AdapterError, Missing, Unavailable
from grants.adapters.idp.base import CALL_SECONDS, IdP
from grants.catalog import idps
from grants.provisioning import claims
from grants.provisioning.claims import Claim, Result
from grants.provisioning.plan import Step

log = structlog.get_logger(__name__)

CALLS = 12  # at once; more gain nothing on one provider
CONFIRM = 50  # in one transaction
BACKLOG = 4 * CALLS  # with less than this in hand, more is claimed: no hand is idle while we are at the database
GATHER = 0.05  # seconds that a first answer waits for others: a commit costs about the same for one and for many
GLANCE = 0.1  # seconds after which we look for what is newly due, however long the calls in hand take

# No call is begun later than this after the claim: it would end when the lease is somebody else's.
BEGIN_WITHIN = claims.LEASE_SECONDS - CALL_SECONDS

_callers = ThreadPoolExecutor(CALLS, thread_name_prefix="settle")

type Done = tuple[Claim, Result | bool]  # a result, or what a look saw
type Answer = Done | tuple[Claim, str]  # why it failed; "" is too late
type Subject = tuple[int, str]


def settle(
    limit: int = 100, *, connect: Callable[[int], IdP] = idps.connect, more: Callable[[], bool] = lambda: False
) -> int:
    """Settle up to `limit` due bindings; returns how many were taken up. Safe in any number of workers at once.

    For as long as `more` says so, as many again are claimed whenever hands are free, until nothing is due.
    """
    calls = _Calls(connect)
    taken = _take_up(calls, limit)
    while calls.in_hand:
        _write_down(calls, calls.answers())
        if calls.in_hand < BACKLOG and more():
            taken += _take_up(calls, limit)
    return taken


def _take_up(calls: _Calls, limit: int) -> int:
    taken, ours = claims.claim(limit)
    calls.begin(ours)
    return taken


def _write_down(calls: _Calls, answers: Sequence[Answer]) -> None:
    """A look is followed by the intent to give, and the giving; a result is confirmed; a failure is kept with why."""
    if looked := [(claim, answer) for claim, answer in answers if isinstance(answer, bool)]:
        calls.begin(claims.intend_to_give(looked))
    if done := [(claim, answer) for claim, answer in answers if isinstance(answer, Result)]:
        claims.confirm(done)
    if late := [claim for claim, answer in answers if answer == ""]:
        claims.release(late)
    for claim, answer in answers:
        if isinstance(answer, str) and answer:
            told = {"binding": claim.id, "step": claim.next.name.lower(), "reason": answer}
            log.debug("binding_not_settled", **told)
            if claims.fail(claim, answer):
                log.error("role_overdue", **told)  # once; what is overdue now is in /metrics and on the home page


class _Calls:
    """The calls of one turn. The providers are found here, beside the database; the threads only call them."""

    def __init__(self, connect: Callable[[int], IdP]) -> None:
        self.in_hand = 0
        self._connect = connect
        self._idps: dict[int, IdP | str] = {}
        self._answered: SimpleQueue[Answer] = SimpleQueue()
        self._lanes: dict[Subject, deque[Claim]] = {}  # of the people whom a thread is at
        self._lock = threading.Lock()

    def begin(self, ours: Sequence[Claim]) -> None:
        """Have these called; what concerns one person is called in order, one after the other."""
        for idp_id in {claim.idp_id for claim in ours}.difference(self._idps):
            try:
                self._idps[idp_id] = self._connect(idp_id)
            except AdapterError as error:
                self._idps[idp_id] = error.reason
        self.in_hand += len(ours)
        for claim in ours:
            subject = claim.idp_id, claim.external_id
            with self._lock:
                if lane := self._lanes.get(subject):
                    lane.append(claim)
                    continue
                self._lanes[subject] = deque([claim])
            _callers.submit(self._in_order, subject)

    def answers(self) -> list[Answer]:
        """What has come back, up to CONFIRM; nothing if that takes longer than a GLANCE."""
        group: list[Answer] = []
        patience = GLANCE
        with suppress(Empty):
            while len(group) < min(self.in_hand, CONFIRM):
                group.append(self._answered.get(timeout=max(0.0, patience)))
                if len(group) == 1:
                    until = time.monotonic() + GATHER
                patience = until - time.monotonic()
        self.in_hand -= len(group)
        return group

    def _in_order(self, subject: Subject) -> None:
        """Everything for this person. The lane goes with its last claim, so that a later one gets a thread again."""
        lane = self._lanes[subject]
        while True:
            claim = lane[0]
            self._answered.put(self._one(claim))
            with self._lock:
                lane.popleft()
                if not lane:
                    del self._lanes[subject]
                    return

    def _one(self, claim: Claim) -> Answer:
        if time.monotonic() > claim.begun + BEGIN_WITHIN:
            return claim, ""
        idp = self._idps[claim.idp_id]
        if isinstance(idp, str):
            return claim, idp
        try:
            return act(idp, claim)
        except AdapterError as error:
            return claim, error.reason
        except Exception as error:  # whatever it was, the binding must come back to be tried again
            log.exception("settle_failed", binding=claim.id)
            return claim, f"Stint tripped over its own feet ({type(error).__name__}); its log says where."


def act(idp: IdP, claim: Claim) -> Done:
    """One step at the provider, read back. Raises AdapterError; a lying answer is one, too."""
    match claim.next:
        case Step.LOOK:
            return _look(idp, claim)
        case Step.GIVE:
            return _give(idp, claim)
        case Step.CHECK:
            return _check(idp, claim)
        case Step.TAKE:
            return _take(idp, claim, Result.TAKEN)
        case Step.RECHECK:
            return _recheck(idp, claim)
        case Step.SEE:
            return _theirs(idp, claim)
    raise AssertionError(claim.next)


def _look(idp: IdP, claim: Claim) -> Done:
    """Its key is committed with the intent: whatever becomes of this process, it can be taken under any name."""
    held = idp.roles_of(claim.external_id)
    if claim.role in held:
        return claim, True
    key = idp.prepare(claim.role)
    if key and key in held.values():
        raise Unavailable("The provider gave the role another name just now; looking again.")
    return claim._replace(role_key=key), False


def _give(idp: IdP, claim: Claim) -> Done:
    if claim.found_before:
        return _theirs(idp, claim)
    key = idp.grant_role(claim.external_id, claim.role, claim.role_key)
    held = idp.roles_of(claim.external_id)
    if claim.role_key and key != claim.role_key:
        if claim.role_key in held.values():
            raise Unavailable("What was given has another name at the provider now, and is still held.")
        return claim._replace(role_key=key), Result.ANEW
    if claim.role not in held:
        raise Unavailable("The provider took the role, but does not show it.")
    return claim._replace(role_key=key), Result.GIVEN


def _check(idp: IdP, claim: Claim) -> Done:
    held = idp.roles_of(claim.external_id)
    if claim.role not in held:
        return _give(idp, claim)
    if claim.found_before:
        return claim, Result.STANDS
    return claim._replace(role_key=claim.role_key or held[claim.role]), Result.STANDS


def _theirs(idp: IdP, claim: Claim) -> Done:
    """Theirs is never given by us: if it is gone meanwhile, the next one is ours, and is taken."""
    return claim, Result.FOUND if claim.role in idp.roles_of(claim.external_id) else Result.LOST


def _take(idp: IdP, claim: Claim, result: Result) -> Done:
    idp.revoke_role(claim.external_id, claim.role, claim.role_key)
    held = _held(idp, claim)
    if not _still(held, claim):
        return claim, result
    if claim.role_key not in held.values():  # what has the name is another one
        return claim._replace(role_key=held[claim.role]), Result.ANEW
    raise Unavailable("The provider says that it took the role back, but still shows it.")


def _recheck(idp: IdP, claim: Claim) -> Done:
    if _still(_held(idp, claim), claim):
        return _take(idp, claim, Result.LINGERED)
    return claim._replace(role_key=""), Result.CLEAR


def _held(idp: IdP, claim: Claim) -> dict[str, str]:
    """Somebody whom the provider no longer knows has no role left."""
    try:
        return idp.roles_of(claim.external_id)
    except Missing:
        return {}


def _still(held: dict[str, str], claim: Claim) -> bool:
    """Under whatever name."""
    return claim.role in held or (claim.role_key != "" and claim.role_key in held.values())
