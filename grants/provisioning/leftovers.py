"""After a restore: roles that were given after the backup, of which the database knows nothing.

Judged as any other they would look like somebody's own from before Stint, and stay for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched

import structlog
from django.db import connection, transaction

from accounts.models import IdP
from grants.adapters.errors import Missing
from grants.adapters.idp.base import RoleProvider, is_mapped
from grants.lifecycle.bindings import Urgency
from grants.lifecycle.models import RoleBinding

log = structlog.get_logger(__name__)

CALLS = 8  # at once
PEOPLE = 200  # in one transaction

type Held = tuple[str, str, str]  # external id, role, its key

# By id, as everybody does: an UPDATE of many rows takes them in an order of its own.
_LOCK = """
SELECT FROM grants_rolebinding b JOIN unnest(%s::text[], %s::text[]) v (external_id, role) USING (external_id, role)
WHERE b.idp_id = %s ORDER BY b.id FOR NO KEY UPDATE OF b
"""

# Taken by the recheck that follows whatever Stint has taken; kept where a grant wants it, as Stint's own.
_OURS = """
UPDATE grants_rolebinding b SET found_before = false, role_key = v.key, generation = b.generation + 1,
    recheck_at = stint_now(), due_at = stint_now(), owed_since = coalesce(b.owed_since, stint_now()), attempts = 0,
    urgency = %s
FROM unnest(%s::text[], %s::text[], %s::text[]) v (external_id, role, key)
WHERE b.idp_id = %s AND b.external_id = v.external_id AND b.role = v.role
    AND b.phase = 'absent' AND b.found_before IS NULL
"""


def own_up_to(idp: IdP, provider: RoleProvider) -> int:
    """Every role of Stint's own that somebody holds and no binding explains is Stint's to take; returns how many.

    Raises AdapterError: begun anew, it finds what is left.
    """
    found = 0
    with ThreadPoolExecutor(CALLS, thread_name_prefix="leftovers") as callers:
        for some in batched((person.external_id for person in provider.people()), PEOPLE):
            held = callers.map(lambda person: (person, _held(provider, person)), some)
            found += _write_down(idp, [(person, role, key) for person, roles in held for role, key in roles.items()])
    log.warning("leftover_roles", idp=idp.slug, found=found)
    return found


def _held(provider: RoleProvider, person: str) -> Mapping[str, str]:
    try:
        held = provider.roles_of(person)
    except Missing:
        return {}
    # Whoever has a role that a policy maps may have had it before Stint.
    return {role: key for role, key in held.items() if not is_mapped(role)}


def _write_down(idp: IdP, held: Sequence[Held]) -> int:
    rows = [RoleBinding(idp=idp, external_id=person, role=role) for person, role, _ in sorted(held)]
    with transaction.atomic(), connection.cursor() as cursor:
        RoleBinding.objects.bulk_create(rows, ignore_conflicts=True)
        cursor.execute(_LOCK, [*([row[n] for row in held] for n in range(2)), idp.pk])
        cursor.execute(_OURS, [Urgency.ENDED, *([row[n] for row in held] for n in range(3)), idp.pk])
        return int(cursor.rowcount)
