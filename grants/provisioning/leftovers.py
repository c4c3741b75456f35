"""Find roles that were given after the backup from which the database was restored.

The database does not know them. Without this they would look like roles from before Stint, and stay for ever.
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

type Held = tuple[str, str, str]  # external id, role, its id at the provider

# Rows are locked by id, as everywhere: an UPDATE of many rows locks them in an order of its own.
_LOCK = """
SELECT FROM grants_rolebinding b JOIN unnest(%s::text[], %s::text[]) v (external_id, role) USING (external_id, role)
WHERE b.idp_id = %s ORDER BY b.id FOR NO KEY UPDATE OF b
"""

# The recheck that follows every role that was taken takes these, too; where a grant wants one, it stays, as Stint's.
_OURS = """
UPDATE grants_rolebinding b SET found_before = false, role_key = v.key, generation = b.generation + 1,
    recheck_at = stint_now(), due_at = stint_now(), owed_since = coalesce(b.owed_since, stint_now()), attempts = 0,
    urgency = %s
FROM unnest(%s::text[], %s::text[], %s::text[]) v (external_id, role, key)
WHERE b.idp_id = %s AND b.external_id = v.external_id AND b.role = v.role
    AND b.phase = 'absent' AND b.found_before IS NULL
"""


def adopt_leftovers(idp: IdP, provider: RoleProvider) -> int:
    """Write down every role of Stint's that somebody holds and no binding explains, to be taken; return how many.

    Raises AdapterError; called again, it finds what is left.
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
    # Somebody who has a role that a policy maps may have had it before Stint.
    return {role: key for role, key in held.items() if not is_mapped(role)}


def _write_down(idp: IdP, held: Sequence[Held]) -> int:
    rows = [RoleBinding(idp=idp, external_id=person, role=role) for person, role, _ in sorted(held)]
    with transaction.atomic(), connection.cursor() as cursor:
        RoleBinding.objects.bulk_create(rows, ignore_conflicts=True)
        cursor.execute(_LOCK, [*([row[n] for row in held] for n in range(2)), idp.pk])
        cursor.execute(_OURS, [Urgency.ENDED, *([row[n] for row in held] for n in range(3)), idp.pk])
        return int(cursor.rowcount)
