"""The calls under way: many people at once, each in order, the most urgent first. These threads know no database."""

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

CALLS = 12  # at once; more gain nothing on one provider
BACKLOG = 4 * CALLS  # with less than this in hand, more is leased: no hand is idle while we are at the database
CONFIRM = 50  # in one transaction
GATHER = 0.05  # seconds that a first answer waits for others: a commit costs about the same for one and for many
GLANCE = 0.1  # seconds after which we look for what is newly due, however long the calls in hand take

# No call begins later than this after the lease began: it could end after the lease.
BEGIN_WITHIN = leases.LEASE_SECONDS - CALL_SECONDS
_MASS = {Step.GIVE, Step.TAKE, Step.RECHECK}  # what only has to know whether one role is held
_CHANGES_NOTHING_YET = {Step.CHECK, Step.RECHECK}  # when it is first told what is held; what it does then must land
_NO_TOKEN = {401, 404}  # Stint's own account is refused, or there is no such realm

_callers = ThreadPoolExecutor(CALLS, thread_name_prefix="reconcile")


class Failure(NamedTuple):
    """Why it was not done; `of_provider`: no other call there would have gone better; `answered`: it said no."""

    reason: str
    of_provider: bool = False
    answered: bool = False


class NotBegun(NamedTuple):
    """It came too late to be begun, or the provider is away."""


class Task(NamedTuple):
    """A leased binding, and the provider to call for it, as it was found when the lease was taken."""

    lease: Lease
    idp: RoleProvider | Failure
    health: Health
    trial: bool
    tried: Failure | None = None  # with others of this person in one call, of which it is not known what it did
    called: bool = False  # together with others of this person

    @property
    def role(self) -> Role | None:
        """Read back with others of this role. Not where more is to be known than whether it is held now."""
        lease = self.lease
        mass = lease.next in _MASS and lease.role_key and not lease.found_before
        return (lease.idp_id, lease.role) if mass and not isinstance(self.idp, Failure) else None


class Begun(NamedTuple):
    """One that has to know what the person holds before it goes on."""

    task: Task
    idp: RoleProvider
    doing: Doing


type Answer = Done | tuple[Lease, Failure | NotBegun]
type Subject = tuple[int, str]


class Calls:
    """The calls of one turn. The providers are found here, beside the database; the threads only call them.

    A turn that loses the database goes on in the next one: what was called must be written down.
    """

    def __init__(self, connect: Callable[[int], RoleProvider], health: Callable[[int], Health]) -> None:
        self.in_hand = self.urgent = 0
        self._connect = connect
        self._health = health
        self._answered: SimpleQueue[Sequence[Answer]] = SimpleQueue()  # an empty one: lease more
        self._asked = True
        self._unwritten: list[Answer] = []
        self._lanes: dict[Subject, deque[Task]] = {}  # of the people whom a thread is at, or will be
        self._order: list[tuple[int, int, Subject]] = []  # a heap of the lanes that no thread is at yet
        self._turn = count()
        self._trials: set[object] = set()  # leases
        self._gather: Gather[Begun] = Gather()
        self._lock = threading.Lock()

    def begin(self, ours: Sequence[Lease], *, trial: bool = False) -> None:
        """Have these called; what concerns one person is called in order, one after the other."""
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
        """Everybody's tasks in a lane; all of them before a thread is at the first. Returns how many lanes are new."""
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
        """How many are in hand and do not merely wait to be read back."""
        return self.in_hand - self._gather.waiting

    def more_is_due(self, more: bool) -> None:
        """Whether more may be due than was taken up: what is done then waits for it, and asks for it in time."""
        self._gather.more = more

    def answers(self) -> list[Answer]:
        """What has come back, about CONFIRM; less when hands are free, nothing if it takes longer than a GLANCE.

        The same again until it is `written`: the database may go away in between.
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
        """These are known to the database, and are in hand no more."""
        self._unwritten = [answer for answer in self._unwritten if answer not in answers]
        self._count([lease for lease, _ in answers], -1)

    def _count(self, held: Sequence[Lease], sign: int) -> None:
        self.in_hand += sign * len(held)
        self.urgent += sign * sum(lease.urgency == Urgency.ENDED for lease in held)

    def _find(self, idp_id: int) -> RoleProvider | Failure:
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
        """Up to where it has to know what the person holds; alone, it is told at once."""
        answer = _begin(task)
        begun = answer if isinstance(answer, Begun) else None
        if not isinstance(answer, Begun):
            self._answered.put([answer])
        if task.role:
            self._is_done(task.role, begun)
        elif begun:
            self._read_alone(begun)

    def _do_together(self, tasks: Sequence[Task]) -> None:
        """Several of one person: one call where that works, and what the person holds is read once for all.

        They are answered as one, so that what they all are to have next is begun as one.
        """
        begun = [_begin(task) for task in _called_together(tasks)]
        failed = [one for one in begun if not isinstance(one, Begun)]
        self._answered.put([*failed, *_read_once([one for one in begun if isinstance(one, Begun)])])
        for task in tasks:
            if task.role:
                self._is_done(task.role)

    def _is_done(self, role: Role, begun: Begun | None = None) -> None:
        """The call of this role is made; where it is to be read back with others, read what is enough by now."""
        ripe = self._gather.add(role, begun)
        if self._gather.more and not self._asked and self.to_do < BACKLOG // 2:
            self._asked = True  # twice would do no harm
            self._answered.put(())
        if ripe:
            self._read(role, ripe)

    def _read(self, role: Role, begun: list[Begun]) -> None:
        """Read these back: from one list of who has the role, or each alone where that does not pay or is not sure."""
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
    """The first tasks of a person that are one step at one provider, as it was found, each of another role."""
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
    """These, of which those that can be were called as one. Where that failed, each is to be called by itself."""
    idp = tasks[0].idp
    those = [task for task in tasks if steps.may_be_together(task.lease) and _may_begin(task)]
    if len(those) < 2 or isinstance(idp, Failure):
        return list(tasks)
    try:
        steps.together(idp, [task.lease for task in those])
    except Exception as error:  # noqa: BLE001 (whatever it was, each by itself has its own error)
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
    """Go on with what the person holds. What follows from it and changes something is read back alone."""
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
    """What these, all of one person, hold is read once, now that all calls are made."""
    if not begun:
        return
    try:
        held = steps.read(begun[0].idp, begun[0].task.lease.external_id)
    except Exception as error:  # noqa: BLE001 (as above)
        yield from ((one.task.lease, _failure(one.task.lease, error)) for one in begun)
    else:
        for place, one in enumerate(begun):
            late = place > 0 and time.monotonic() > one.task.lease.begun + BEGIN_WITHIN
            # What was seen is written down for all of these at once, and by then is to be young still.
            yield (one.task.lease, NotBegun()) if late and one.task.lease.next is Step.LOOK else _resume(one, held)


def _listed(begun: Sequence[Begun]) -> Holders | None:
    """Who has the role of these; None where the list is not to be believed.

    What it does not show may be there all the same (a right that is lost empties lists, without an error): somebody
    who is not on it is read alone, and must not have it either.
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
    return Failure(f"Stint failed itself ({type(error).__name__}); its log has the details.")
