"""Say which roles live grants need at the identity provider, and make their bindings due when a grant changes.

Nothing here calls a provider. grants.provisioning gives and takes the roles that are due, from the sweeper.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Expression, F, Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.models import Identity
from accounts.written import Written, a_row, a_text, a_time
from grants.adapters.idp.kinds import GIVE_ROLES
from grants.catalog.models import Resource
from grants.lifecycle.models import Grant, RoleBinding
from grants.policy import ownership, rules, versions

Urgency = RoleBinding.Urgency
OVERDUE = timedelta(seconds=10)  # a role that is later than this is reported to people
_LONGEST = 255  # characters of a role's name at Keycloak

_SHORTENED = re.compile(r"~[0-9a-f]{16}\Z")


def identity_for_roles(subject_id: int) -> Identity | None:
    """Return the identity through which this person can get roles; None when their access exists at the gate only."""
    return Identity.objects.filter(subject_id=subject_id, idp__kind__in=GIVE_ROLES).order_by("idp_id").first()


def role_of(resource: Resource, level: str) -> str:
    """Return the name of the role for this level of this resource: the one that the policy maps, else Stint's own."""
    policy = versions.in_force()
    mapped = rules.role_of(policy, ownership.facts_of(resource), level) if policy else None
    if mapped:
        return mapped
    name = f"{resource.connection.slug}:{resource.kind}:{resource.name}"
    whole = f"{name}:{level}"
    if len(whole) <= _LONGEST and not _SHORTENED.search(name):  # otherwise a short name could equal a shortened one
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]  # so that two long names stay different
    return f"{name[: _LONGEST - len(level) - 18]}~{digest}:{level}"


def want(grants: Sequence[Grant]) -> None:
    """Make the roles due that these newly opened grants need."""
    keys = (
        Identity.objects.filter(subject__grants__in=[grant.pk for grant in grants if grant.role])
        .filter(idp=F("subject__grants__idp"))
        .values_list("idp_id", "external_id", "subject__grants__role")
    )
    wanted = [RoleBinding(idp_id=idp, external_id=person, role=str(role)) for idp, person, role in sorted(set(keys))]
    RoleBinding.objects.bulk_create(wanted, ignore_conflicts=True)
    due_now(grants, Urgency.WANTED)


# The bindings of these grants, by the identity and the role. They are locked in the order of their ids, because two
# actions that share roles would otherwise deadlock.
_LOCK = """
SELECT b.id FROM grants_rolebinding b
    JOIN accounts_identity i ON i.idp_id = b.idp_id AND i.external_id = b.external_id
    JOIN grants_grant g ON g.beneficiary_id = i.subject_id AND g.idp_id = b.idp_id AND g.role = b.role
WHERE g.id = ANY (%s) ORDER BY b.id FOR NO KEY UPDATE OF b
"""

# A binding that was due keeps the time since when it is owed. A lease stays: its worker cannot confirm the old
# generation, and gives the binding back as due.
_DUE_NOW = """
UPDATE grants_rolebinding b SET generation = b.generation + 1, due_at = stint_now(),
    owed_since = coalesce(b.owed_since, stint_now()), attempts = 0,
    urgency = CASE WHEN b.due_at <= stint_now() THEN least(b.urgency, %s) ELSE %s END
WHERE b.id = ANY (%s)
"""


def due_now(grants: Sequence[Grant], urgency: Urgency = Urgency.ENDED) -> None:
    """Make the bindings of these grants due now, because what the grants need has changed."""
    ids = [grant.pk for grant in grants if grant.role]
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [ids])
        cursor.execute(_DUE_NOW, [urgency, urgency, [pk for (pk,) in cursor.fetchall()]])


def all_due_now() -> None:
    """Make every binding due now, because what is stored about the provider is no longer reliable."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM grants_rolebinding ORDER BY id FOR NO KEY UPDATE")
        cursor.execute(_DUE_NOW, [Urgency.ELAPSED, Urgency.ELAPSED, [pk for (pk,) in cursor.fetchall()]])


def of(grant: Grant) -> RoleBinding | None:
    """Return the binding that this grant needs or needed; None when its access exists at the gate only."""
    if not grant.role:
        return None
    return next(iter(_binding(who=grant.beneficiary_id, idp=grant.idp_id, role=grant.role)), None)


@Written
def _binding() -> QuerySet[RoleBinding]:
    identities = Identity.objects.filter(subject=a_row("who"), idp=a_row("idp")).values("external_id")
    found = RoleBinding.objects.filter(idp=a_row("idp"), role=a_text("role"), external_id__in=identities)
    return found.select_related("idp")


def beside(grant: Grant, now: datetime) -> list[Grant]:
    """Return other live grants of the same person with the same resource or the same role."""
    given = {"resource": grant.resource_id, "idp": grant.idp_id or 0, "role": grant.role or ""}
    return _beside(who=grant.beneficiary_id, but=grant.pk, now=now, **given)


@Written
def _beside() -> QuerySet[Grant]:
    live = Grant.objects.live_at(a_time("now")).filter(beneficiary=a_row("who")).exclude(pk=a_row("but"))
    of_role = Q(idp=a_row("idp"), role=a_text("role"))
    return live.filter(of_role | Q(resource=a_row("resource"))).order_by("pk")


def also_wants(grant: Grant, beside: Sequence[Grant]) -> Grant | None:
    """Return the one of these grants that needs the same role; of several the one that lasts longest."""
    same = [one for one in beside if grant.role and (one.idp_id, one.role) == (grant.idp_id, grant.role)]
    return max(same, key=lambda one: one.over_at, default=None)


def outlived_by(grant: Grant, now: datetime) -> Grant | None:
    """Return the later grant whose end made the role due to be taken, if grants of the same role adjoined this one."""
    last: Grant | None = None
    while grant.role and (last or grant).over_at < now:
        given = {"idp": grant.idp_id, "role": grant.role, "over": (last or grant).over_at, "now": now}
        kept = _adjoining(who=grant.beneficiary_id, but=grant.pk, **given)
        if not kept:
            break
        last = kept[-1]
    return last


@Written
def _adjoining() -> QuerySet[Grant]:
    same = Grant.objects.filter(beneficiary=a_row("who"), idp=a_row("idp"), role=a_text("role"))
    over = same.exclude(pk=a_row("but")).alias(until=Coalesce("ended_at", "ends_at")).filter(until__lte=a_time("now"))
    return over.filter(starts_at__lte=a_time("over"), until__gt=a_time("over")).order_by("pk")


def overdue(now: datetime) -> QuerySet[RoleBinding]:
    """Return the bindings that are owed for longer than OVERDUE, leased or not; the oldest first."""
    owed = owed_before(now - OVERDUE).alias(since=Coalesce("owed_since", "due_at"))
    return owed.select_related("idp").order_by("since", "pk")


def owed_before(late: datetime | Expression) -> QuerySet[RoleBinding]:
    """Return the bindings that are owed since before `late`."""
    owed = RoleBinding.objects.filter(due_at__isnull=False).alias(since=Coalesce("owed_since", "due_at"))
    return owed.filter(since__lt=late)
