"""Settle what is due: read, commit the intent, call, read back, confirm. Many people at once, each in order.

Only this thread touches the database; the others only call the provider.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
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

# No call is begun later than this after the claim: it would end when the lease is somebody else's.
BEGIN_WITHIN = claims.LEASE_SECONDS - CALL_SECONDS

_callers = ThreadPoolExecutor(CALLS, thread_name_prefix="settle")

type Answer = tuple[Claim, Result | bool | str]  # a result, what a look saw, or why it failed; "" is too late


def settle(limit: int = 100, *, connect: Callable[[int], IdP] = idps.connect) -> int:
    """Settle up to `limit` due bindings; returns how many were taken up. Safe in any number of workers at once."""
    begun = time.monotonic()
    taken, ours = claims.claim(limit)
    call = _Calls(ours, connect, begun + BEGIN_WITHIN)
    looks = [claim for claim in ours if claim.next is Step.LOOK]
    acts = [claim for claim in ours if claim.next is not Step.LOOK]
    if looks:
        seen: list[tuple[Claim, bool]] = []
        for answers in call.for_all(looks):
            seen += [(claim, answer) for claim, answer in answers if isinstance(answer, bool)]
            _fail(answers)
        acts += claims.intend_to_give(seen)
    for answers in call.for_all(acts):
        claims.confirm([(claim, answer) for claim, answer in answers if isinstance(answer, Result)])
        _fail(answers)
    return taken


def _fail(answers: Sequence[Answer]) -> None:
    claims.release(claim for claim, answer in answers if answer == "")
    for claim, answer in answers:
        if isinstance(answer, str) and answer:
            told = {"binding": claim.id, "step": claim.next.name.lower(), "reason": answer}
            log.debug("binding_not_settled", **told)
            if claims.fail(claim, answer):
                log.error("role_overdue", **told)  # once; what is overdue now is in /metrics and on the home page


class _Calls:
    """The calls of one turn. The providers are found here, beside the database; the threads only call them."""

    def __init__(self, ours: Sequence[Claim], connect: Callable[[int], IdP], deadline: float) -> None:
        self.deadline = deadline
        self.idps: dict[int, IdP | str] = {}
        for idp_id in {claim.idp_id for claim in ours}:
            try:
                self.idps[idp_id] = connect(idp_id)
            except AdapterError as error:
                self.idps[idp_id] = error.reason

    def for_all(self, claims: Sequence[Claim]) -> Iterator[list[Answer]]:
        """As they come back, in groups of up to CONFIRM; the calls for one person stay in order."""
        answered: SimpleQueue[Answer] = SimpleQueue()

        def in_order(those: Sequence[Claim]) -> None:
            for claim in those:
                answered.put((claim, self._one(claim)))

        for _, those in groupby(sorted(claims, key=_subject), key=_subject):
            _callers.submit(in_order, list(those))
        left = len(claims)
        while left:
            group = [answered.get()]
            while len(group) < min(left, CONFIRM):
                try:
                    group.append(answered.get_nowait())
                except Empty:
                    break
            left -= len(group)
            yield group

    def _one(self, claim: Claim) -> Result | bool | str:
        if time.monotonic() > self.deadline:
            return ""
        idp = self.idps[claim.idp_id]
        if isinstance(idp, str):
            return idp
        try:
            return act(idp, claim)
        except AdapterError as error:
            return error.reason
        except Exception as error:  # whatever it was, the binding must come back to be tried again
            log.exception("settle_failed", binding=claim.id)
            return f"Stint tripped over its own feet ({type(error).__name__}); its log says where."


def _subject(claim: Claim) -> tuple[int, str]:
    return claim.idp_id, claim.external_id


def act(idp: IdP, claim: Claim) -> Result | bool:
    """One step at the provider, read back. Raises AdapterError; a lying answer is one, too."""
    match claim.next:
        case Step.LOOK:
            return _there(idp, claim)
        case Step.GIVE:
            return _give(idp, claim)
        case Step.CHECK:
            return Result.STANDS if _there(idp, claim) else _give(idp, claim)
        case Step.TAKE:
            return _take(idp, claim, Result.TAKEN)
        case Step.RECHECK:
            return _take(idp, claim, Result.LINGERED) if _still(idp, claim) else Result.CLEAR
        case Step.SEE:
            return Result.FOUND if _there(idp, claim) else Result.LOST
    raise AssertionError(claim.next)


def _give(idp: IdP, claim: Claim) -> Result:
    if claim.found_before:  # theirs is never given by us: if it is gone meanwhile, the next one is ours, and is taken
        return Result.FOUND if _there(idp, claim) else Result.LOST
    idp.grant_role(claim.external_id, claim.role)
    if not _there(idp, claim):
        raise Unavailable("The provider took the role, but does not show it.")
    return Result.GIVEN


def _take(idp: IdP, claim: Claim, result: Result) -> Result:
    idp.revoke_role(claim.external_id, claim.role)
    if _still(idp, claim):
        raise Unavailable("The provider says that it took the role back, but still shows it.")
    return result


def _there(idp: IdP, claim: Claim) -> bool:
    return claim.role in idp.roles_of(claim.external_id)


def _still(idp: IdP, claim: Claim) -> bool:
    """Like _there; somebody whom the provider no longer knows has no role left."""
    try:
        return _there(idp, claim)
    except Missing:
        return False
