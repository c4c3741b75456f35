"""Bindings taken for a while, and what became of them: every UPDATE that provisioning makes.

A lease says who is at a binding, a generation what for. A confirmation needs both as they were; else it
changes nothing, and whoever confirmed learns that the world moved on.
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
from grants.provisioning.plan import INTENT, Step, step

LEASE_SECONDS = 15
TOGETHER = 20  # roles of one person in one call
LONGEST_CALL = f"{CALL_SECONDS} seconds"
LONGEST_PAUSE = 15  # seconds between two tries, however many there were
_PAUSE = f"least(power(2, least(b.attempts - 1, 10)), {LONGEST_PAUSE}) * interval '1 second'"


class Claim(NamedTuple):
    """One binding in our hands, and what it needs."""

    id: int
    idp_id: int
    external_id: str
    role: str
    found_before: bool | None
    generation: int
    until: datetime | None  # when the window of its grants next changes what is wanted
    next: Step
    lease: UUID
    begun: float  # when we asked for the lease, by our monotonic clock: it ends no earlier than LEASE_SECONDS later
    role_key: str  # the provider's, of what we are about to give or gave
    urgency: int = Urgency.WANTED
    again: bool = False  # it failed before


_AHEAD = "CASE WHEN b.recheck_at > stint_now() THEN b.recheck_at END"  # what is past would be due for ever
_RECHECK = (
    "recheck_at = stint_now() + %(call)s::interval, due_at = least(stint_now() + %(call)s::interval, v.until),"
    f" urgency = CASE WHEN v.until < stint_now() + %(call)s::interval THEN {Urgency.WANTED} ELSE {Urgency.RECHECK} END"
)
# Given again while a call that was to take it may still land: looked at once more after that.
_NEXT = f"due_at = least({_AHEAD}, v.until), urgency = {Urgency.ELAPSED}"
_AT_START = f"due_at = v.until, urgency = {Urgency.WANTED}"


class Result(Enum):
    """What was read back at the provider, as SQL that says it and the event that records it."""

    GIVEN = f"phase = 'present', given_at = stint_now(), {_NEXT}", Verb.BINDING_GIVEN
    FOUND = f"phase = 'present', due_at = v.until, urgency = {Urgency.ELAPSED}", Verb.BINDING_FOUND
    STANDS = _NEXT, None
    TAKEN = f"phase = 'absent', taken_at = stint_now(), {_RECHECK}", Verb.BINDING_TAKEN
    LINGERED = _RECHECK, Verb.BINDING_LINGERED
    CLEAR = f"found_before = NULL, recheck_at = NULL, {_AT_START}", None
    LOST = "phase = 'absent', found_before = NULL, recheck_at = NULL, due_at = stint_now()", Verb.BINDING_LOST
    KEPT = f"phase = 'kept', {_AT_START}", Verb.BINDING_KEPT
    ANEW = "due_at = stint_now()", None  # what has the role's name is another one by now: once more, with its key
    IDLE = (
        (
            f"due_at = least({_AHEAD}, v.until), urgency = CASE WHEN {_AHEAD} <= coalesce(v.until, 'infinity')"
            f" THEN {Urgency.RECHECK} ELSE {Urgency.WANTED} END"
        ),
        None,
    )

    def __init__(self, sets: str, verb: Verb | None) -> None:
        self.sets = sets
        self.verb = verb


_CHANGED = {Result.GIVEN, Result.TAKEN, Result.LINGERED}
_MAY_GIVE = {Step.GIVE, Step.CHECK}
_MAY_TAKE = {Step.TAKE, Step.RECHECK}

# The most urgent first, of equals what is due for longest: each urgency is read from the index by itself, and only
# until there are enough. MATERIALIZED: within a join the planner may ask again and again, and take more than LIMIT.
# With each comes what else is due of that person: several roles are given or taken in one call.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT found.id FROM unnest(%(urgencies)s::smallint[]) of (urgency) CROSS JOIN LATERAL (
        SELECT b.id FROM grants_rolebinding b
        WHERE b.urgency = of.urgency AND b.due_at <= stint_now()
            AND (b.lease_until IS NULL OR b.lease_until < stint_now())
            AND NOT b.idp_id = ANY (%(but)s::bigint[]) AND (%(only)s::bigint IS NULL OR b.idp_id = %(only)s)
        ORDER BY b.due_at, b.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ) found LIMIT %(limit)s
), whose AS (
    SELECT DISTINCT b.idp_id, b.external_id, b.urgency FROM grants_rolebinding b JOIN due USING (id)
), theirs AS MATERIALIZED (
    SELECT more.id FROM whose CROSS JOIN LATERAL (
        SELECT b.id FROM grants_rolebinding b
        WHERE b.idp_id = whose.idp_id AND b.external_id = whose.external_id AND b.urgency = whose.urgency
            AND b.due_at <= stint_now() AND (b.lease_until IS NULL OR b.lease_until < stint_now())
        ORDER BY b.id LIMIT %(of_one)s FOR NO KEY UPDATE SKIP LOCKED
    ) more LIMIT CASE WHEN %(only)s::bigint IS NULL THEN %(limit)s * 4 ELSE 0 END
), taken AS (SELECT id FROM due UNION SELECT id FROM theirs)
UPDATE grants_rolebinding b SET lease = %(lease)s, lease_until = stint_now() + %(long)s::interval,
    attempts = b.attempts + 1, owed_since = coalesce(b.owed_since, b.due_at)
FROM taken WHERE b.id = taken.id RETURNING b.id
"""

# What is wanted is counted from live grants, by the clock, each time anew: no message and no sweep decides it.
# Each OFFSET 0 forces the order: from a binding to its identity, to the grants of that person. Left to choose, a
# planner whose statistics are of a nearly empty table reads all live grants for each binding.
_WANTED = """
WITH t AS MATERIALIZED (SELECT stint_now() AS at)
SELECT c.id, c.idp_id, c.external_id, c.role, c.found_before, c.generation, c.phase, c.role_key,
    c.urgency, c.last_error <> '', coalesce(c.recheck_at <= t.at, false) AS recheck, w.wanted, w.until
FROM grants_rolebinding c CROSS JOIN t CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(g.starts_at <= t.at), false) AS wanted,
        coalesce(max(g.until) FILTER (WHERE g.starts_at <= t.at), min(g.starts_at)) AS until
    FROM (
        SELECT g.starts_at, coalesce(g.ended_at, g.ends_at) AS until, g.closed_at
        FROM (
            SELECT subject_id FROM accounts_identity WHERE idp_id = c.idp_id AND external_id = c.external_id OFFSET 0
        ) i CROSS JOIN LATERAL (SELECT * FROM grants_grant WHERE beneficiary_id = i.subject_id OFFSET 0) g
        WHERE g.idp_id = c.idp_id AND g.role = c.role
    ) g WHERE g.closed_at IS NULL AND g.until > t.at
) w
WHERE c.id = ANY (%s) ORDER BY c.id
"""


def claim(
    limit: int, *, urgencies: Sequence[int] = tuple(Urgency), but: Sequence[int] = (), only: int | None = None
) -> tuple[int, list[Claim]]:
    """Take due bindings under a lease of ours, and commit what is about to be done to each.

    Up to `limit`, and up to four times as many that are due of the same people, for which that many calls are enough.
    None of the providers `but` these; of `only` this one no more than the limit. Returns how many there were, and
    those that need a call: the others are settled with this. What needs a look first gets its intent by
    `intend_to_give`.
    """
    lease, begun = uuid4(), time.monotonic()
    wanted = {
        "urgencies": list(urgencies),
        "but": list(but),
        "only": only,
        "limit": limit,
        "lease": lease,
        "of_one": TOGETHER,
    }
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, {**wanted, "long": f"{LEASE_SECONDS} seconds"})
            taken = [pk for (pk,) in cursor.fetchall()]
            if not taken:
                return 0, []
            cursor.execute(_WANTED, [taken])
            planned = [_planned(row, lease, begun) for row in cursor.fetchall()]
            ready = _intend(cursor, planned)
        settled = {Step.NOTHING: Result.IDLE, Step.KEEP: Result.KEPT}
        _confirm([(each, settled[each.next]) for each in ready if each.next in settled])
    to_call = [each for each in ready if each.next not in settled]
    return len(ready), sorted(to_call, key=lambda each: (each.urgency, each.id))


def _planned(row: tuple[Any, ...], lease: UUID, begun: float) -> Claim:
    (pk, idp_id, external_id, role, found_before, generation, phase, key, urgency, again, recheck, wanted, until) = row
    following = step(phase, wanted=wanted, found_before=found_before, recheck=recheck)
    at = (pk, idp_id, external_id, role, found_before, generation, until, following)
    return Claim(*at, lease, begun, key, urgency, again)


# One statement for all: at a batch of 50, each round trip of its own would cost more than the work.
_INTEND = """
UPDATE grants_rolebinding b SET phase = v.phase, generation = b.generation + 1,
    recheck_at = CASE WHEN v.phase = 'removing' THEN stint_now() + %s::interval ELSE b.recheck_at END
FROM unnest(%s::bigint[], %s::text[]) v (id, phase) WHERE b.id = v.id
"""


def _intend(cursor: Any, planned: Sequence[Claim]) -> list[Claim]:
    acting = [claim for claim in planned if claim.next in INTENT]
    if acting:
        late = f"{LEASE_SECONDS + CALL_SECONDS} seconds"  # when no call that is to take it can land any more
        phases = [INTENT[claim.next] for claim in acting]
        cursor.execute(_INTEND, [late, [claim.id for claim in acting], phases])
    return [claim._replace(generation=claim.generation + 1) if claim.next in INTENT else claim for claim in planned]


# Only what is still as it was when it was claimed; who is not returned has lost it.
_OURS = "b.id = v.id AND b.lease = v.lease AND b.generation = v.generation"

_INTEND_TO_GIVE = f"""
UPDATE grants_rolebinding b SET phase = 'adding', found_before = v.there, role_key = v.key,
    generation = b.generation + 1
FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::boolean[], %s::text[]) v (id, lease, generation, there, key)
WHERE {_OURS} AND b.lease_until > stint_now() AND b.phase = 'absent' RETURNING b.id
"""  # noqa: S608 (our own text)


def intend_to_give(looked: Iterable[tuple[Claim, bool]]) -> list[Claim]:
    """Commit what was found before the first call, and what we are about to give. Returns those still ours.

    What was seen before the lease ran out (the database was away, say) is looked at anew: somebody may have it by now.
    """
    seen = sorted(looked)
    looked_at = [claim for claim, _ in seen]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, looked_at)
        keys = [claim.role_key for claim in looked_at]
        cursor.execute(_INTEND_TO_GIVE, [*_columns(looked_at), [there for _, there in seen], keys])
        ours = {pk for (pk,) in cursor.fetchall()}
        _let_go(cursor, [claim for claim in looked_at if claim.id not in ours])
    return [
        claim._replace(found_before=there, generation=claim.generation + 1, next=Step.GIVE)
        for claim, there in seen
        if claim.id in ours
    ]


_CONFIRM = f"""
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, attempts = 0, last_error = '', owed_since = NULL,
    role_key = v.key, {{}}
FROM unnest(%(id)s::bigint[], %(lease)s::uuid[], %(generation)s::bigint[], %(until)s::timestamptz[], %(key)s::text[])
    v (id, lease, generation, until, key)
WHERE {_OURS} RETURNING b.id
"""  # noqa: S608 (our own text)


# What was found before is let go of only by way of "kept", whatever was under way.
_NO_MORE_THEIRS = """
UPDATE grants_rolebinding SET phase = 'kept'
WHERE id = %(id)s AND lease = %(lease)s AND generation = %(generation)s AND phase IN ('adding', 'present')
"""


def confirm(done: Sequence[tuple[Claim, Result]]) -> int:
    """Write down what was read back, an event a row; returns how many stood. The others are due again at once."""
    with transaction.atomic():
        return _confirm(done)


def _confirm(done: Sequence[tuple[Claim, Result]]) -> int:
    if not done:
        return 0
    done = sorted(done, key=lambda each: each[0].id)
    stood: set[int] = set()
    with connection.cursor() as cursor:
        _lock(cursor, [claim for claim, _ in done])
        for claim, result in done:
            if result is Result.LOST:
                cursor.execute(_NO_MORE_THEIRS, claim._asdict())
        for result in {result for _, result in done}:
            of_this = [claim for claim, its in done if its is result]
            pk, lease, generation = _columns(of_this)
            until = [claim.until for claim in of_this]
            values: dict[str, Any] = {
                "id": pk,
                "lease": lease,
                "generation": generation,
                "until": until,
                "key": [claim.role_key for claim in of_this],
                "call": LONGEST_CALL,
            }
            cursor.execute(_CONFIRM.format(result.sets), values)
            stood |= {pk for (pk,) in cursor.fetchall()}
        lost = _let_go(cursor, [claim for claim, _ in done if claim.id not in stood])
        changed = [(claim, result) for claim, result in done if claim.id in lost and result in _CHANGED]
        _own_up(cursor, [(claim, result is Result.GIVEN) for claim, result in changed], lands="0 seconds")
    record_all(
        [
            Event(result.verb, {"binding": claim.id, "idp": claim.idp_id})
            for claim, result in done
            if result.verb and claim.id in stood
        ],
        by="sweeper",
    )
    return len(stood)


def _lock(cursor: Any, claims: Sequence[Claim]) -> None:
    """By id, as everybody does: one UPDATE of many rows takes them in an order of its own."""
    cursor.execute(
        "SELECT FROM grants_rolebinding WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE", [[c.id for c in claims]]
    )


def _columns(claims: Sequence[Claim]) -> tuple[list[int], list[UUID], list[int]]:
    return [c.id for c in claims], [c.lease for c in claims], [c.generation for c in claims]


_FAIL = f"""
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, last_error = v.reason,
    due_at = stint_now() + CASE WHEN b.generation = v.generation THEN {_PAUSE} ELSE interval '0' END
FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::text[]) v (id, lease, generation, reason)
WHERE b.id = v.id AND b.lease = v.lease RETURNING b.id
"""  # noqa: S608 (ours)


def fail(failed: Sequence[tuple[Claim, str]]) -> None:
    """Nothing is given up: due again after a pause that grows to 15 s, with the reason for people to see."""
    if not failed:
        return
    failed = sorted(failed, key=lambda each: each[0].id)
    those = [claim for claim, _ in failed]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, those)
        cursor.execute(_FAIL, [*_columns(those), [reason for _, reason in failed]])
        kept = {pk for (pk,) in cursor.fetchall()}
        sent = [claim for claim in those if claim.id not in kept and claim.next in _MAY_GIVE | _MAY_TAKE]
        _own_up(cursor, [(claim, claim.next in _MAY_GIVE) for claim in sent], lands=LONGEST_CALL)


def release(claims: Iterable[Claim]) -> None:
    """Give back what was not begun in time: due again at once, for whoever has the hands free."""
    those = sorted(claims)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, those)
        _let_go(cursor, those)


_LET_GO = """
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, due_at = stint_now()
FROM unnest(%s::bigint[], %s::uuid[]) v (id, lease) WHERE b.id = v.id AND b.lease = v.lease RETURNING b.id
"""


def _let_go(cursor: Any, claims: Sequence[Claim]) -> set[int]:
    """The world moved on: those whose lease is still ours are due. Returns the others, somebody else's by now."""
    if not claims:
        return set()
    cursor.execute(_LET_GO, _columns(claims)[:2])
    return {claim.id for claim in claims}.difference(pk for (pk,) in cursor.fetchall())


_OWN_UP = f"""
UPDATE grants_rolebinding b SET generation = generation + 1, due_at = stint_now(), urgency = {Urgency.ENDED},
    found_before = CASE WHEN v.gave AND phase = 'absent' THEN false ELSE found_before END,
    role_key = CASE WHEN v.gave AND phase = 'absent' THEN v.key ELSE role_key END,
    recheck_at = CASE WHEN phase <> 'absent' THEN greatest(recheck_at, stint_now() + %s::interval)
        WHEN v.gave THEN stint_now() + %s::interval ELSE recheck_at END
FROM unnest(%s::bigint[], %s::boolean[], %s::text[]) v (id, gave, key) WHERE b.id = v.id
"""  # noqa: S608 (our own text)


def _own_up(cursor: Any, claims: Sequence[tuple[Claim, bool]], *, lands: str) -> None:
    """What we did (or may have sent, and it `lands` within this), without the lease, is looked after.

    Somebody slow (stopped between intent and call, say) may have given a role that nobody wants any more, after
    the recheck even: then the binding says again that what is there is ours to take. Or may have taken one that is
    wanted again: then it is checked. A new generation voids what somebody else is about to confirm meanwhile.
    Who only looked has nothing to own up to: what is there by now may be theirs.
    """
    if claims:
        gave = [gave and claim.found_before is False for claim, gave in claims]
        keys = [claim.role_key for claim, _ in claims]
        cursor.execute(_OWN_UP, [lands, lands, [claim.id for claim, _ in claims], gave, keys])
