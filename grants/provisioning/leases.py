"""Take due bindings under a lease, and write down what became of them: every UPDATE that provisioning makes.

The lease says which worker is at a binding; the generation says which state of it the worker has seen. A confirmation
needs both to be unchanged. Otherwise it changes nothing, and the binding is due again at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.db import connection, transaction

from grants.adapters.idp.base import CALL_SECONDS
from grants.audit import Event, Verb, record_all
from grants.lifecycle.bindings import Urgency
from grants.provisioning import statements
from grants.provisioning.plan import INTENT, Step, step

LEASE_SECONDS = 15
TOGETHER = 20  # roles of one person in one call
LONGEST_CALL = f"{CALL_SECONDS} seconds"
LONGEST_PAUSE = 15  # seconds between two attempts, however many there were
URGENCIES = {urgency.name.lower(): int(urgency) for urgency in Urgency}


class Lease(NamedTuple):
    """One binding that this worker holds for LEASE_SECONDS, and the step that it needs."""

    id: int  # of the binding
    idp_id: int
    external_id: str
    role: str
    found_before: bool | None
    generation: int
    until: datetime | None  # when the window of its grants next changes what is wanted
    next: Step
    uuid: UUID
    begun: float  # when we asked for the lease, by our monotonic clock: it ends no earlier than LEASE_SECONDS later
    role_key: str  # the provider's id of the role that we are about to give, or gave
    urgency: int = Urgency.WANTED
    again: bool = False  # it failed before


class Result(Enum):
    """What was read back at the provider: its name in the statement CONFIRM, and the event that records it."""

    GIVEN = "given", Verb.BINDING_GIVEN
    FOUND = "found", Verb.BINDING_FOUND  # the role of before Stint is there
    STANDS = "stands", None  # what was given is still there
    TAKEN = "taken", Verb.BINDING_TAKEN
    LINGERED = "lingered", Verb.BINDING_LINGERED  # a recheck found it there, and took it
    CLEAR = "clear", None  # a recheck found it gone: what Stint gave is forgotten
    LOST = "lost", Verb.BINDING_LOST  # the role of before Stint is gone
    KEPT = "kept", Verb.BINDING_KEPT  # not wanted any more, and not taken: it was there before Stint
    RETRY_WITH_NEW_KEY = "retry", None  # another role has its name now: the step is repeated with that role's id
    IDLE = "idle", None

    def __init__(self, code: str, verb: Verb | None) -> None:
        self.code = code
        self.verb = verb


_CHANGED = {Result.GIVEN, Result.TAKEN, Result.LINGERED}
_MAY_GIVE = {Step.GIVE, Step.CHECK}
_MAY_TAKE = {Step.TAKE, Step.RECHECK}
_WITHOUT_A_CALL = {Step.NOTHING: Result.IDLE, Step.KEEP: Result.KEPT}


def acquire(
    limit: int, *, urgencies: Sequence[int] = tuple(Urgency), but: Sequence[int] = (), only: int | None = None
) -> tuple[int, list[Lease]]:
    """Take due bindings under a new lease, and commit what is about to be done to each.

    Takes up to `limit`, and up to four times as many that are due of the same people: that many calls are enough for
    them. Skips the providers `but` these; of `only` this provider it takes no more than the limit. Returns how many
    were taken, and those that need a call: the others are confirmed here. Where the role must be looked at first, its
    intent is committed by `intend_to_give`.
    """
    uuid, begun = uuid4(), time.monotonic()
    wanted = {
        "urgencies": list(urgencies),
        "but": list(but),
        "only": only,
        "limit": limit,
        "of_one_person": TOGETHER,
        "lease": uuid,
        "lasts": f"{LEASE_SECONDS} seconds",
    }
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statements.ACQUIRE, wanted)
            ids = [pk for (pk,) in cursor.fetchall()]
            if not ids:
                return 0, []
            cursor.execute(statements.WANTED, {"ids": ids})
            leases = _intend(cursor, [_planned(row, uuid, begun) for row in cursor.fetchall()])
        _confirm([(lease, _WITHOUT_A_CALL[lease.next]) for lease in leases if lease.next in _WITHOUT_A_CALL])
    to_call = [lease for lease in leases if lease.next not in _WITHOUT_A_CALL]
    return len(leases), sorted(to_call, key=lambda lease: (lease.urgency, lease.id))


def _planned(row: tuple[Any, ...], uuid: UUID, begun: float) -> Lease:
    (
        pk,
        idp_id,
        external_id,
        role,
        found_before,
        generation,
        phase,
        role_key,
        urgency,
        again,
        recheck,
        wanted,
        until,
    ) = row
    following = step(phase, wanted=wanted, found_before=found_before, recheck=recheck)
    binding = (pk, idp_id, external_id, role, found_before, generation, until, following)
    return Lease(*binding, uuid, begun, role_key, urgency, again)


def _intend(cursor: Any, planned: Sequence[Lease]) -> list[Lease]:
    """Commit the phase that each call will lead to, with one statement for all of them."""
    acting = [lease for lease in planned if lease.next in INTENT]
    if acting:
        phases = [INTENT[lease.next] for lease in acting]
        latest = f"{LEASE_SECONDS + CALL_SECONDS} seconds"
        cursor.execute(statements.INTEND, {"ids": _ids(acting), "phases": phases, "latest": latest})
    return [lease._replace(generation=lease.generation + 1) if lease.next in INTENT else lease for lease in planned]


def intend_to_give(looked: Iterable[tuple[Lease, bool]]) -> list[Lease]:
    """Commit whether the role was there before, and its id, before the first call. Returns those still leased.

    What was seen before the lease ran out (while the database was away, say) is looked at again: an admin may have
    given the role meanwhile.
    """
    seen = sorted(looked)
    leases = [lease for lease, _ in seen]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, leases)
        cursor.execute(statements.INTEND_TO_GIVE, {**_columns(leases), "there": [there for _, there in seen]})
        ours = {pk for (pk,) in cursor.fetchall()}
        _release(cursor, [lease for lease in leases if lease.id not in ours])
    return [
        lease._replace(found_before=there, generation=lease.generation + 1, next=Step.GIVE)
        for lease, there in seen
        if lease.id in ours
    ]


def confirm(done: Sequence[tuple[Lease, Result]]) -> int:
    """Write down what was read back, one event for each; return how many were unchanged. The others are due at once."""
    with transaction.atomic():
        return _confirm(done)


def _confirm(done: Sequence[tuple[Lease, Result]]) -> int:
    if not done:
        return 0
    done = sorted(done, key=lambda each: each[0].id)
    leases = [lease for lease, _ in done]
    with connection.cursor() as cursor:
        _lock(cursor, leases)
        if lost := [lease for lease, result in done if result is Result.LOST]:
            cursor.execute(statements.KEEP_WHAT_IS_LOST, _columns(lost))
        told: dict[str, Any] = {
            "untils": [lease.until for lease in leases],
            "results": [result.code for _, result in done],
            "call": LONGEST_CALL,
        }
        cursor.execute(statements.CONFIRM, {**URGENCIES, **_columns(leases), **told})
        stood = {pk for (pk,) in cursor.fetchall()}
        others = _release(cursor, [lease for lease in leases if lease.id not in stood])
        changed = [(lease, result is Result.GIVEN) for lease, result in done if result in _CHANGED]
        reopen_after_lost_lease(cursor, [each for each in changed if each[0].id in others], lands="0 seconds")
    record_all(
        [
            Event(result.verb, {"binding": lease.id, "idp": lease.idp_id})
            for lease, result in done
            if result.verb and lease.id in stood
        ],
        by="sweeper",
    )
    return len(stood)


def fail(failed: Sequence[tuple[Lease, str]]) -> None:
    """Write down why it failed; it is due again after a pause that grows to LONGEST_PAUSE. Nothing is given up."""
    if not failed:
        return
    failed = sorted(failed, key=lambda each: each[0].id)
    leases = [lease for lease, _ in failed]
    told: dict[str, Any] = {"reasons": [reason for _, reason in failed], "longest_pause": LONGEST_PAUSE}
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, leases)
        cursor.execute(statements.FAIL, {**_columns(leases), **told})
        kept = {pk for (pk,) in cursor.fetchall()}
        sent = [lease for lease in leases if lease.id not in kept and lease.next in _MAY_GIVE | _MAY_TAKE]
        reopen_after_lost_lease(cursor, [(lease, lease.next in _MAY_GIVE) for lease in sent], lands=LONGEST_CALL)


def release(leases: Iterable[Lease]) -> None:
    """Give back what was not begun in time: it is due at once, for any worker."""
    ordered = sorted(leases)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, ordered)
        _release(cursor, ordered)


def _release(cursor: Any, leases: Sequence[Lease]) -> set[int]:
    """Give back the bindings whose lease is still ours. Returns the others, which another worker may hold by now."""
    if not leases:
        return set()
    cursor.execute(statements.RELEASE, _columns(leases))
    return {lease.id for lease in leases}.difference(pk for (pk,) in cursor.fetchall())


def reopen_after_lost_lease(cursor: Any, changed: Sequence[tuple[Lease, bool]], *, lands: str) -> None:
    """Have a binding looked at again that we changed, or may have changed, after our lease had ended.

    With each comes whether the call was to give. A worker that was stopped between its intent and its call may have
    given a role that nobody wants any more, even after the recheck: the binding then says again that the role is
    Stint's, and it is taken. Or it may have taken a role that is wanted again: the binding is then checked. The new
    generation voids what another worker is about to confirm. A worker that only looked has changed nothing: a role
    that is there by now may be the person's own.
    """
    if changed:
        leases = [lease for lease, _ in changed]
        gave = [to_give and lease.found_before is False for lease, to_give in changed]
        cursor.execute(statements.REOPEN, {**URGENCIES, **_columns(leases), "gave": gave, "lands": lands})


def _lock(cursor: Any, leases: Sequence[Lease]) -> None:
    cursor.execute(statements.LOCK, {"ids": _ids(leases)})


def _ids(leases: Sequence[Lease]) -> list[int]:
    return [lease.id for lease in leases]


def _columns(leases: Sequence[Lease]) -> dict[str, list[Any]]:
    """What the statements compare with their rows, as arrays."""
    return {
        "ids": _ids(leases),
        "leases": [lease.uuid for lease in leases],
        "generations": [lease.generation for lease in leases],
        "role_keys": [lease.role_key for lease in leases],
    }
