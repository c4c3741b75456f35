"""Say when the next binding is due, and make failed bindings due sooner once their provider is back."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from grants.lifecycle.bindings import OVERDUE, Urgency

SPREAD = "1 second"  # within which failed bindings are spread, so that several workers do not take them at one moment

_NEXT = """
SELECT extract(epoch FROM min(greatest(soon.due_at, coalesce(soon.lease_until, soon.due_at))) - stint_now())
FROM unnest(%s::smallint[]) of (urgency) CROSS JOIN LATERAL (
    SELECT due_at, lease_until FROM grants_rolebinding b
    WHERE b.urgency = of.urgency AND b.due_at IS NOT NULL AND NOT b.idp_id = ANY (%s::bigint[])
    ORDER BY due_at, id LIMIT 100
) soon
"""


def seconds_to_next(*, but: Sequence[int] = ()) -> float | None:
    """Return the seconds until the next binding is due, except at the providers `but`; 0: now, None: none will be."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [list(Urgency), list(but)])
        (seconds,) = cursor.fetchone()
    return None if seconds is None else max(0.0, float(seconds))


# Rows are locked in the order of their ids, as everywhere.
_SOONER = """
WITH failing AS (
    SELECT id FROM grants_rolebinding WHERE idp_id = %s AND last_error <> '' AND due_at > {than} AND lease IS NULL
    ORDER BY due_at LIMIT %s
), locked AS MATERIALIZED (
    SELECT b.id FROM grants_rolebinding b JOIN failing USING (id) ORDER BY b.id FOR NO KEY UPDATE OF b SKIP LOCKED
)
UPDATE grants_rolebinding b SET due_at = least(b.due_at, {to}) FROM locked
WHERE b.id = locked.id AND b.last_error <> '' AND b.lease IS NULL
"""
_TRY = _SOONER.format(than="stint_now()", to="stint_now()")
_RELEASE = _SOONER.format(than="stint_now() + %s::interval", to="stint_now() + random() * %s::interval")


def try_sooner(idp_id: int, count: int) -> bool:
    """Make up to `count` failed bindings of this provider due now, the next ones first. False: none is failing."""
    with connection.cursor() as cursor:
        cursor.execute(_TRY, [idp_id, count])
        if cursor.rowcount:
            return True
        cursor.execute(
            "SELECT EXISTS (SELECT FROM grants_rolebinding WHERE idp_id = %s AND last_error <> '')", [idp_id]
        )
        (failing,) = cursor.fetchone()
    return bool(failing)


def release(idp_id: int) -> int:
    """Make every failed binding of this provider due within a second, since it is back. Returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, [idp_id, SPREAD, 1_000_000, SPREAD])
        return int(cursor.rowcount)


def overdue(idp_id: int) -> int:
    """Count the failing bindings of this provider that are late enough for people to be told."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM grants_rolebinding WHERE idp_id = %s AND last_error <> ''"
            " AND owed_since <= stint_now() - %s::interval",
            [idp_id, str(OVERDUE)],
        )
        (count,) = cursor.fetchone()
    return int(count)
