"""The SQL of leases: what each statement changes, and the conditions under which it may.

Parameters are named. `ids`, `leases`, `generations` … are arrays of the same length: one entry a binding. The names of
`Urgency` are parameters, too.
"""

from __future__ import annotations

# One UPDATE of many rows locks them in an order of its own, and two of them could wait for each other. So each
# transaction locks the rows that it will update by id first.
LOCK = "SELECT FROM grants_rolebinding WHERE id = ANY (%(ids)s) ORDER BY id FOR NO KEY UPDATE"

# The most urgent first; of equals, what is due for longest. Each urgency is read from the index by itself, and only
# until there are enough. MATERIALIZED: within a join the planner could run it again and again, and take more than the
# limit. With each binding comes what else is due of that person: several roles are given or taken in one call. Ordered
# by role, that is read from the index of whose role it is.
ACQUIRE = """
WITH due AS MATERIALIZED (
    SELECT found.* FROM unnest(%(urgencies)s::smallint[]) of (urgency) CROSS JOIN LATERAL (
        SELECT b.id, b.idp_id, b.external_id, b.urgency FROM grants_rolebinding b
        WHERE b.urgency = of.urgency AND b.due_at <= stint_now()
            AND (b.lease_until IS NULL OR b.lease_until < stint_now())
            AND NOT b.idp_id = ANY (%(but)s::bigint[]) AND (%(only)s::bigint IS NULL OR b.idp_id = %(only)s)
        ORDER BY b.due_at, b.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ) found LIMIT %(limit)s
), person AS (
    SELECT DISTINCT idp_id, external_id, urgency FROM due
), beside AS MATERIALIZED (
    SELECT more.id FROM person CROSS JOIN LATERAL (
        SELECT b.id FROM grants_rolebinding b
        WHERE b.idp_id = person.idp_id AND b.external_id = person.external_id AND b.urgency = person.urgency
            AND b.due_at <= stint_now() AND (b.lease_until IS NULL OR b.lease_until < stint_now())
        ORDER BY b.role LIMIT %(of_one_person)s FOR NO KEY UPDATE SKIP LOCKED
    ) more LIMIT CASE WHEN %(only)s::bigint IS NULL THEN %(limit)s * 4 ELSE 0 END
)
UPDATE grants_rolebinding b SET lease = %(lease)s, lease_until = stint_now() + %(lasts)s::interval,
    attempts = b.attempts + 1, owed_since = coalesce(b.owed_since, b.due_at)
WHERE b.id = ANY (ARRAY(SELECT id FROM due UNION SELECT id FROM beside)) RETURNING b.id
"""

# Whether a role is wanted is computed from live grants and the clock each time. Nothing else decides it.
# Each OFFSET 0 forces the order: from a binding to its identity, to the grants of that person. Left to choose, a
# planner whose statistics are of a nearly empty table reads all live grants for each binding.
WANTED = """
WITH t AS MATERIALIZED (SELECT stint_now() AS at)
SELECT b.id, b.idp_id, b.external_id, b.role, b.found_before, b.generation, b.phase, b.role_key,
    b.urgency, b.last_error <> '', coalesce(b.recheck_at <= t.at, false) AS recheck, w.wanted, w.until
FROM grants_rolebinding b CROSS JOIN t CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(g.starts_at <= t.at), false) AS wanted,
        coalesce(max(g.until) FILTER (WHERE g.starts_at <= t.at), min(g.starts_at)) AS until
    FROM (
        SELECT g.starts_at, coalesce(g.ended_at, g.ends_at) AS until, g.closed_at
        FROM (
            SELECT subject_id FROM accounts_identity WHERE idp_id = b.idp_id AND external_id = b.external_id OFFSET 0
        ) i CROSS JOIN LATERAL (SELECT * FROM grants_grant WHERE beneficiary_id = i.subject_id OFFSET 0) g
        WHERE g.idp_id = b.idp_id AND g.role = b.role
    ) g WHERE g.closed_at IS NULL AND g.until > t.at
) w
WHERE b.id = ANY (%(ids)s) ORDER BY b.id
"""

# Before the call. `latest`: how long it takes until no call that is to take the role can land any more.
INTEND = """
UPDATE grants_rolebinding b SET phase = v.phase, generation = b.generation + 1,
    recheck_at = CASE WHEN v.phase = 'removing' THEN stint_now() + %(latest)s::interval ELSE b.recheck_at END
FROM unnest(%(ids)s::bigint[], %(phases)s::text[]) v (id, phase) WHERE b.id = v.id
"""

INTEND_TO_GIVE = """
UPDATE grants_rolebinding b SET phase = 'adding', found_before = v.there, role_key = v.role_key,
    generation = b.generation + 1
FROM unnest(%(ids)s::bigint[], %(leases)s::uuid[], %(generations)s::bigint[], %(there)s::boolean[],
    %(role_keys)s::text[]) v (id, lease, generation, there, role_key)
WHERE b.id = v.id AND b.lease = v.lease AND b.generation = v.generation
    AND b.lease_until > stint_now() AND b.phase = 'absent' RETURNING b.id
"""

# A trigger lets `found_before` be forgotten only on the way from "kept" to "absent".
KEEP_WHAT_IS_LOST = """
UPDATE grants_rolebinding b SET phase = 'kept'
FROM unnest(%(ids)s::bigint[], %(leases)s::uuid[], %(generations)s::bigint[]) v (id, lease, generation)
WHERE b.id = v.id AND b.lease = v.lease AND b.generation = v.generation AND b.phase IN ('adding', 'present')
"""

# `call`: the longest that one takes. What was taken is read once more after that, since a call that was slow may have
# given it again. A recheck that is past would be due for ever, so only one that is ahead counts. What was given while
# a call that takes it may still land is checked then: it is due as if its grant had elapsed.
CONFIRM = """
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, attempts = 0, last_error = '', owed_since = NULL,
    role_key = v.role_key,
    phase = CASE
        WHEN v.result IN ('given', 'found') THEN 'present'
        WHEN v.result IN ('taken', 'lost') THEN 'absent'
        WHEN v.result = 'kept' THEN 'kept'
        ELSE b.phase END,
    given_at = CASE WHEN v.result = 'given' THEN stint_now() ELSE b.given_at END,
    taken_at = CASE WHEN v.result = 'taken' THEN stint_now() ELSE b.taken_at END,
    found_before = CASE WHEN v.result IN ('clear', 'lost') THEN NULL ELSE b.found_before END,
    recheck_at = CASE
        WHEN v.result IN ('taken', 'lingered') THEN stint_now() + %(call)s::interval
        WHEN v.result IN ('clear', 'lost') THEN NULL
        ELSE b.recheck_at END,
    due_at = CASE
        WHEN v.result IN ('lost', 'retry') THEN stint_now()
        WHEN v.result IN ('taken', 'lingered') THEN least(stint_now() + %(call)s::interval, v.until)
        WHEN v.result IN ('found', 'clear', 'kept') THEN v.until
        ELSE least(CASE WHEN b.recheck_at > stint_now() THEN b.recheck_at END, v.until) END,
    urgency = CASE
        WHEN v.result IN ('lost', 'retry') THEN b.urgency
        WHEN v.result IN ('taken', 'lingered') AND v.until < stint_now() + %(call)s::interval THEN %(wanted)s
        WHEN v.result IN ('taken', 'lingered') THEN %(recheck)s
        WHEN v.result IN ('clear', 'kept') THEN %(wanted)s
        WHEN v.result IN ('given', 'found', 'stands') THEN %(elapsed)s
        WHEN b.recheck_at > stint_now() AND b.recheck_at <= coalesce(v.until, 'infinity') THEN %(recheck)s
        ELSE %(wanted)s END
FROM unnest(%(ids)s::bigint[], %(leases)s::uuid[], %(generations)s::bigint[], %(untils)s::timestamptz[],
    %(role_keys)s::text[], %(results)s::text[]) v (id, lease, generation, until, role_key, result)
WHERE b.id = v.id AND b.lease = v.lease AND b.generation = v.generation RETURNING b.id
"""

# Due again after a pause that doubles; at once, where something has changed since.
FAIL = """
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, last_error = v.reason,
    due_at = stint_now() + CASE
        WHEN b.generation = v.generation
        THEN least(power(2, least(b.attempts - 1, 10)), %(longest_pause)s) * interval '1 second'
        ELSE interval '0' END
FROM unnest(%(ids)s::bigint[], %(leases)s::uuid[], %(generations)s::bigint[], %(reasons)s::text[])
    v (id, lease, generation, reason)
WHERE b.id = v.id AND b.lease = v.lease RETURNING b.id
"""

RELEASE = """
UPDATE grants_rolebinding b SET lease = NULL, lease_until = NULL, due_at = stint_now()
FROM unnest(%(ids)s::bigint[], %(leases)s::uuid[]) v (id, lease)
WHERE b.id = v.id AND b.lease = v.lease RETURNING b.id
"""

# `lands`: within this, what was sent may still arrive. `gave`: it may have given a role that was not there before.
REOPEN = """
UPDATE grants_rolebinding b SET generation = b.generation + 1, due_at = stint_now(), urgency = %(ended)s,
    found_before = CASE WHEN v.gave AND b.phase = 'absent' THEN false ELSE b.found_before END,
    role_key = CASE WHEN v.gave AND b.phase = 'absent' THEN v.role_key ELSE b.role_key END,
    recheck_at = CASE
        WHEN b.phase <> 'absent' THEN greatest(b.recheck_at, stint_now() + %(lands)s::interval)
        WHEN v.gave THEN stint_now() + %(lands)s::interval
        ELSE b.recheck_at END
FROM unnest(%(ids)s::bigint[], %(gave)s::boolean[], %(role_keys)s::text[]) v (id, gave, role_key) WHERE b.id = v.id
"""
