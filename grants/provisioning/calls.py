"""The calls under way: many people at once, each in order, the most urgent first. These threads know no database."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from grants.adapters.errors import AdapterError, Refused, Unavailable
from grants.adapters.idp.base import CALL_SECONDS, IdP
from grants.lifecycle.bindings import Urgency
from grants.provisioning import claims, steps
from grants.provisioning.claims import Claim
from grants.provisioning.health import Health
from grants.provisioning.steps import Done, Unproved

log = structlog.get_logger(__name__)

CALLS = 12  # at once; more gain nothing on one provider
CONFIRM = 50  # in one transaction
GATHER = 0.05  # seconds that a first answer waits for others: a commit costs about the same for one and for many
GLANCE = 0.1  # seconds after which we look for what is newly due, however long the calls in hand take

# No call is begun later than this after the claim: it would end when the lease is somebody else's.
BEGIN_WITHIN = claims.LEASE_SECONDS - CALL_SECONDS
_NO_TOKEN = {401, 404}  # Stint's own account is refused, or there is no such realm

_callers = ThreadPoolExecutor(CALLS, thread_name_prefix="settle")


class Failure(NamedTuple):
    """Why it was not done; `of_provider`: no other call there would have gone better."""

    reason: str
    of_provider: bool = False


class NotBegun(NamedTuple):
    """It came too late to be begun, or the provider is away."""


class Task(NamedTuple):
    """A claim, and where it is called: as the provider was found when it was taken up, and never longer."""

    claim: Claim
    idp: IdP | Failure
    health: Health
    trial: bool


type Answer = Done | tuple[Claim, Failure | NotBegun]
type Subject = tuple[int, str]


class Calls:
    """The calls of one turn. The providers are found here, beside the database; the threads only call them."""

    def __init__(self, connect: Callable[[int], IdP], health: Callable[[int], Health]) -> None:
        self.in_hand = self.urgent = 0
        self._connect = connect
        self._health = health
        self._answered: SimpleQueue[Answer] = SimpleQueue()
        self._lanes: dict[Subject, deque[Task]] = {}  # of the people whom a thread is at, or will be
        self._order: list[tuple[int, int, Subject]] = []  # a heap of the lanes that no thread is at yet
        self._turn = count()
        self._trials: set[object] = set()  # leases
        self._lock = threading.Lock()

    def begin(self, ours: Sequence[Claim], *, trial: bool = False) -> None:
        """Have these called; what concerns one person is called in order, one after the other."""
        if trial:
            self._trials |= {claim.lease for claim in ours}
        idps = {idp_id: self._find(idp_id) for idp_id in {claim.idp_id for claim in ours}}
        self._count(ours, 1)
        for claim in ours:
            task = Task(claim, idps[claim.idp_id], self._health(claim.idp_id), claim.lease in self._trials)
            subject = claim.idp_id, claim.external_id
            with self._lock:
                if lane := self._lanes.get(subject):
                    lane.append(task)
                    continue
                self._lanes[subject] = deque([task])
                heapq.heappush(self._order, (claim.urgency, next(self._turn), subject))
            _callers.submit(self._next)

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
        self._count([claim for claim, _ in group], -1)
        return group

    def _count(self, claims_: Sequence[Claim], sign: int) -> None:
        self.in_hand += sign * len(claims_)
        self.urgent += sign * sum(claim.urgency == Urgency.ENDED for claim in claims_)

    def _find(self, idp_id: int) -> IdP | Failure:
        """Anew each time: what was missing may be there by now, and a secret be another one."""
        try:
            return self._connect(idp_id)
        except AdapterError as error:
            return Failure(error.reason, of_provider=True)

    def _next(self) -> None:
        """Everything for the person whose first is the most urgent.

        The lane goes with its last task, so that a later one gets a thread again.
        """
        with self._lock:
            *_, subject = heapq.heappop(self._order)
            lane = self._lanes[subject]
        while True:
            task = lane[0]
            self._answered.put(_answer(task))
            with self._lock:
                lane.popleft()
                if not lane:
                    del self._lanes[subject]
                    return


def _answer(task: Task) -> Answer:
    claim = task.claim
    if time.monotonic() > claim.begun + BEGIN_WITHIN or (task.health.shut and not task.trial):
        return claim, NotBegun()
    if isinstance(task.idp, Failure):
        return claim, task.idp
    try:
        return steps.act(task.idp, claim)
    except Unproved as error:
        return claim, Failure(error.reason)
    except AdapterError as error:
        away = isinstance(error, Unavailable) or (isinstance(error, Refused) and error.code in _NO_TOKEN)
        return claim, Failure(error.reason, of_provider=away)
    except Exception as error:  # whatever it was, the binding must come back to be tried again
        log.exception("settle_failed", binding=claim.id)
        return claim, Failure(f"Stint tripped over its own feet ({type(error).__name__}); its log says where.")
