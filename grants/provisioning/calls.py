"""Call providers for many people at once: each person's calls in order, the most urgent first.

The threads that call never use the database.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from grants.adapters.errors import AdapterError, Refused, Unavailable, Withheld
from grants.adapters.idp.base import CALL_SECONDS, Holders, RoleProvider
from grants.lifecycle.bindings import Urgency
from grants.provisioning import leases, steps
from grants.provisioning.gather import Gather, Role
from grants.provisioning.health import Health
from grants.provisioning.leases import Lease
from grants.provisioning.plan import Step
from grants.provisioning.steps import Doing, Done, Held, Unproved

log = structlog.get_logger(__name__)

CALLS = 12  # at once; more make one provider no faster
BACKLOG = 4 * CALLS  # with less than this in hand, more is leased, so that no thread is idle while the database is used
CONFIRM = 50  # in one transaction
GATHER = 0.05  # seconds that a first answer waits for others: a commit costs about the same for one as for many
GLANCE = 0.1  # seconds until newly due bindings are looked for, however long the calls in hand take

# No call begins later than this after the lease began: it could end after the lease.
BEGIN_WITHIN = leases.LEASE_SECONDS - CALL_SECONDS
_MASS = {Step.GIVE, Step.TAKE, Step.RECHECK}  # steps that only need to know whether one role is held
_CHANGES_NOTHING_YET = {
    Step.CHECK,
    Step.RECHECK,
}  # until they have read what is held; a call that follows must end within the lease
_NO_TOKEN = {401, 404}  # Stint's own account is refused, or the realm does not exist

_callers = ThreadPoolExecutor(CALLS, thread_name_prefix="reconcile")


class Failure(NamedTuple):
    """Why a step failed; `of_provider`: any other call there would have failed, too; `answered`: it was refused."""

    reason: str
    of_provider: bool = False
    answered: bool = False


class NotBegun(NamedTuple):
    """The step was not begun: it was too late for that, or the provider is away."""


class Task(NamedTuple):
    """A leased binding, and the provider to call for it, as it was found when the lease was taken."""

    lease: Lease
    idp: RoleProvider | Failure
    health: Health
    trial: bool
    tried: Failure | None = None  # the failure of a joint call, which may have been carried out all the same
    called: bool = False  # together with others of this person

    @property
    def role(self) -> Role | None:
        """The role with whose others it is read back; None where more must be known than whether it is held now."""
        lease = self.lease
        mass = lease.next in _MASS and lease.role_key and not lease.found_before
        return (lease.idp_id, lease.role) if mass and not isinstance(self.idp, Failure) else None


class Begun(NamedTuple):
    """A step that waits to know what the person holds."""

    task: Task
    idp: RoleProvider
    doing: Doing


type Answer = Done | tuple[Lease, Failure | NotBegun]
type Subject = tuple[int, str]


class Calls:
    """The calls of one turn. Providers are looked up by the thread that uses the database; the others only call them.

    If a turn loses the database, the next turn continues with this object: what was called must be written down.
    """

    def __init__(self, connect: Callable[[int], RoleProvider], health: Callable[[int], Health]) -> None:
        self.in_hand = self.urgent = 0
        self._connect = connect
        self._health = health
        self._answered: SimpleQueue[Sequence[Answer]] = SimpleQueue()  # an empty one: lease more
        self._asked = True
        self._unwritten: list[Answer] = []
        self._lanes: dict[Subject, deque[Task]] = {}  # of the people whom a thread serves, or will
        self._order: list[tuple[int, int, Subject]] = []  # a heap of the lanes that no thread serves yet
        self._turn = count()
        self._trials: set[object] = set()  # leases
        self._gather: Gather[Begun] = Gather()
        self._lock = threading.Lock()

    def begin(self, ours: Sequence[Lease], *, trial: bool = False) -> None:
        """Have these called; the calls for one person are made one after the other."""
        self._asked = False
        if trial:
            self._trials |= {lease.uuid for lease in ours}
        idps = {idp_id: self._find(idp_id) for idp_id in {lease.idp_id for lease in ours}}
        self._count(ours, 1)
        tasks = [
            Task(lease, idps[lease.idp_id], self._health(lease.idp_id), lease.uuid in self._trials) for lease in ours
        ]
        for task in tasks:
            if task.role:
                self._gather.expect(task.role)
        for _ in range(self._line_up(tasks)):
            _callers.submit(self._next)

    def _line_up(self, tasks: Sequence[Task]) -> int:
        """Put each person's tasks into a lane, all before a thread begins the first. Returns how many lanes are new."""
        new = 0
        with self._lock:
            for task in tasks:
                lease = task.lease
                subject = lease.idp_id, lease.external_id
                if lane := self._lanes.get(subject):
                    lane.append(task)
                    continue
                self._lanes[subject] = deque([task])
                heapq.heappush(self._order, (lease.urgency, next(self._turn), subject))
                new += 1
        return new

    @property
    def to_do(self) -> int:
        """How many are in hand, without those that only wait to be read back."""
        return self.in_hand - self._gather.waiting

    def more_is_due(self, more: bool) -> None:
        """Say whether more may be due than is in hand: then finished calls wait for it, to be read back together."""
        self._gather.more = more

    def answers(self) -> list[Answer]:
        """Return about CONFIRM answers; fewer when threads are free, none if that takes longer than a GLANCE.

        Returns the same again until they are `written`: the database may be lost in between.
        """
        if self._unwritten:
            return list(self._unwritten)
        for role, late in self._gather.late():
            _callers.submit(self._read, role, late)
        group: list[Answer] = []
        patience = GLANCE
        with suppress(Empty):
            while len(group) < min(self.in_hand, CONFIRM):
                some = self._answered.get(timeout=max(0.0, patience))
                if not some:
                    break
                if not group:
                    until = time.monotonic() + GATHER
                group += some
                patience = until - time.monotonic()
        self._unwritten = group
        return list(group)

    def written(self, answers: Sequence[Answer]) -> None:
        """Forget these answers: they are in the database now."""
        self._unwritten = [answer for answer in self._unwritten if answer not in answers]
        self._count([lease for lease, _ in answers], -1)

    def _count(self, held: Sequence[Lease], sign: int) -> None:
        self.in_hand += sign * len(held)
        self.urgent += sign * sum(lease.urgency == Urgency.ENDED for lease in held)

    def _find(self, idp_id: int) -> RoleProvider | Failure:
        """Look up the provider each time: what was missing may be there by now, and a secret may have changed."""
        try:
            return self._connect(idp_id)
        except AdapterError as error:
            return Failure(error.reason, of_provider=True)

    def _next(self) -> None:
        """Do everything for the person whose first task is the most urgent.

        The lane is removed with its last task, so that a later task gets a thread again.
        """
        with self._lock:
            *_, subject = heapq.heappop(self._order)
            lane = self._lanes[subject]
        while True:
            with self._lock:
                tasks = alike(lane)
            if len(tasks) == 1:
                self._do(tasks[0])
            else:
                self._do_together(tasks)
            with self._lock:
                for _ in tasks:
                    lane.popleft()
                if not lane:
                    del self._lanes[subject]
                    return

    def _do(self, task: Task) -> None:
        """Do one task up to where it must know what the person holds, and read that unless it waits for others."""
        answer = _begin(task)
        begun = answer if isinstance(answer, Begun) else None
        if not isinstance(answer, Begun):
            self._answered.put([answer])
        if task.role:
            self._is_done(task.role, begun)
        elif begun:
            self._read_alone(begun)

    def _do_together(self, tasks: Sequence[Task]) -> None:
        """Do several tasks of one person: in one call where that works, and with one read for all of them.

        They are answered together, so that their next steps are begun together.
        """
        begun = [_begin(task) for task in _called_together(tasks)]
        failed = [one for one in begun if not isinstance(one, Begun)]
        self._answered.put([*failed, *_read_once([one for one in begun if isinstance(one, Begun)])])
        for task in tasks:
            if task.role:
                self._is_done(task.role)

    def _is_done(self, role: Role, begun: Begun | None = None) -> None:
        """Note that a call for this role is made; read those that wait, if they are enough now."""
        ripe = self._gather.add(role, begun)
        if self._gather.more and not self._asked and self.to_do < BACKLOG // 2:
            self._asked = True  # asking twice would do no harm
            self._answered.put(())
        if ripe:
            self._read(role, ripe)

    def _read(self, role: Role, begun: list[Begun]) -> None:
        """Read these back from one list of who has the role; one by one where that costs more or is not certain."""
        while begun:
            enough = self._gather.enough(role, len(begun))
            listed = _listed(begun) if enough else None
            if listed:
                for one in begun:
                    self._answered.put([_resume(one, _as_listed(one, listed))])
            else:
                for one in begun[1:]:
                    _callers.submit(self._read_alone, one)
                self._read_alone(begun[0])
            size = len(listed.people) if listed else None
            begun = self._gather.was_read(role, size=size, in_vain=enough and not listed)

    def _read_alone(self, begun: Begun) -> None:
        self._answered.put(list(_read_once([begun])))


def alike(lane: Sequence[Task]) -> list[Task]:
    """Return the first tasks of a person that are the same step at the same provider, each for another role."""
    first = lane[0]
    found: dict[str, Task] = {}
    for task in lane:
        same = task.lease.next is first.lease.next and task.idp is first.idp and task.trial == first.trial
        if not same or task.lease.role in found or len(found) == leases.TOGETHER:
            break
        found[task.lease.role] = task
    return list(found.values())


def _may_begin(task: Task) -> bool:
    in_time = time.monotonic() <= task.lease.begun + BEGIN_WITHIN
    return in_time and not (task.health.shut and not task.trial)


def _called_together(tasks: Sequence[Task]) -> list[Task]:
    """Make one call for those of these tasks that allow it. Where that failed, each is to be called by itself."""
    idp = tasks[0].idp
    those = [task for task in tasks if steps.may_be_together(task.lease) and _may_begin(task)]
    if len(those) < 2 or isinstance(idp, Failure):
        return list(tasks)
    try:
        steps.together(idp, [task.lease for task in those])
    except Exception as error:  # noqa: BLE001 (whatever it was, each call by itself has its own error)
        tried = _failure(those[0].lease, error)
        also = tried._replace(of_provider=False)  # it was one call, and counts once
        return [task._replace(tried=tried if task is those[0] else also) if task in those else task for task in tasks]
    return [task._replace(called=True) if task in those else task for task in tasks]


def _begin(task: Task) -> Answer | Begun:
    lease = task.lease
    if not task.called and not _may_begin(task):
        return lease, task.tried or NotBegun()
    if isinstance(task.idp, Failure):
        return lease, task.idp
    doing = steps.begin(task.idp, lease, called=task.called)
    try:
        next(doing)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    except Exception as error:  # noqa: BLE001 (whatever it was, the binding must come back to be tried again)
        return lease, _failure(lease, error)
    return Begun(task, task.idp, doing)


def _resume(begun: Begun, held: Held) -> Answer:
    """Continue with what the person holds. A change that follows from it is read back alone."""
    lease = begun.task.lease
    if time.monotonic() > lease.begun + leases.LEASE_SECONDS and lease.next in _CHANGES_NOTHING_YET:
        return lease, NotBegun()
    try:
        while True:
            begun.doing.send(held)
            held = steps.read(begun.idp, lease.external_id)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    except Exception as error:  # noqa: BLE001 (as above)
        return lease, _failure(lease, error)


def _read_once(begun: Sequence[Begun]) -> Iterator[Answer]:
    """Read once what the person of all these holds, now that all calls are made."""
    if not begun:
        return
    try:
        held = steps.read(begun[0].idp, begun[0].task.lease.external_id)
    except Exception as error:  # noqa: BLE001 (as above)
        yield from ((one.task.lease, _failure(one.task.lease, error)) for one in begun)
    else:
        for place, one in enumerate(begun):
            late = place > 0 and time.monotonic() > one.task.lease.begun + BEGIN_WITHIN
            # What was seen is written down for all of these at once, and must not be old by then.
            yield (one.task.lease, NotBegun()) if late and one.task.lease.next is Step.LOOK else _resume(one, held)


def _listed(begun: Sequence[Begun]) -> Holders | None:
    """Return who has the role of these; None where the list cannot be trusted.

    A role may be held that the list does not show (a lost right empties lists, without an error). So one person who is
    not on the list is read alone, and must not have the role either.
    """
    role = begun[0].task.lease.role
    try:
        listed = begun[-1].idp.holders(role)
        if listed is None or any(one.task.lease.role_key != listed.key for one in begun):
            return None
        for one in begun:
            if one.task.lease.external_id not in listed.people:
                held = steps.read(one.idp, one.task.lease.external_id)
                return None if role in held.roles or listed.key in held.roles.values() else listed
    except AdapterError:
        return None
    except Exception:
        log.exception("list_failed", role=role)
        return None
    return listed


def _as_listed(begun: Begun, listed: Holders) -> Held:
    lease = begun.task.lease
    return Held({lease.role: listed.key} if lease.external_id in listed.people else {})


def _failure(lease: Lease, error: Exception) -> Failure:
    if isinstance(error, Unproved):
        return Failure(error.reason, answered=True)
    if isinstance(error, AdapterError):
        away = isinstance(error, Unavailable) or (isinstance(error, Refused) and error.code in _NO_TOKEN)
        return Failure(error.reason, of_provider=away, answered=not away and not isinstance(error, Withheld))
    log.error("reconcile_failed", binding=lease.id, exc_info=error)
    return Failure(f"Stint failed with an error of its own ({type(error).__name__}). Its log has the details.")
