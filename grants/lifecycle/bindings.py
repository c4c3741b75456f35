"""What is wanted at the identity provider: which role stands for a grant, and which bindings its moves concern.

Nothing here calls a provider. It says what is due; `provisioning` makes it so, from the sweeper.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from accounts.models import Identity
from grants.adapters.idp.kinds import GIVE_ROLES
from grants.catalog.models import Resource
from grants.lifecycle.models import Grant, GrantQuerySet, RoleBinding
from grants.policy import rules, versions

Urgency = RoleBinding.Urgency
OVERDUE = timedelta(seconds=10)  # later than this, people are told
_LONGEST = 255  # of a role's name at Keycloak

_SHORTENED = re.compile(r"~[0-9a-f]{16}\Z")

# A binding belongs to the grants of its role, by the identity that it is about.
JOIN_GRANTS = """
    JOIN accounts_identity i ON i.idp_id = b.idp_id AND i.external_id = b.external_id
    JOIN grants_grant g ON g.beneficiary_id = i.subject_id AND g.idp_id = b.idp_id AND g.role = b.role
"""


def identity_for_roles(subject_id: int) -> Identity | None:
    """The identity at which this person can be given roles; None: their access lives at the gate alone."""
    return Identity.objects.filter(subject_id=subject_id, idp__kind__in=GIVE_ROLES).order_by("idp_id").first()


def role_of(resource: Resource, level: str) -> str:
    """The name of the role for this much of this resource: mapped by the policy in force, else Stint's own."""
    policy = versions.in_force()
    mapped = rules.role_of(policy, versions.facts_of(resource), level) if policy else None
    if mapped:
        return mapped
    name = f"{resource.connection.slug}:{resource.kind}:{resource.name}"
    whole = f"{name}:{level}"
    if len(whole) <= _LONGEST and not _SHORTENED.search(name):  # else a short name could be called like a long one's
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]  # so that two long names stay two
    return f"{name[: _LONGEST - len(level) - 18]}~{digest}:{level}"


def want(grants: Sequence[Grant]) -> None:
    """These grants have just opened: what they need is due now."""
    keys = (
        Identity.objects.filter(subject__grants__in=[grant.pk for grant in grants if grant.role])
        .filter(idp=F("subject__grants__idp"))
        .values_list("idp_id", "external_id", "subject__grants__role")
    )
    wanted = [RoleBinding(idp_id=idp, external_id=person, role=str(role)) for idp, person, role in sorted(set(keys))]
    RoleBinding.objects.bulk_create(wanted, ignore_conflicts=True)
    due_now(grants, Urgency.WANTED)


# What was owed already waits no longer than it did. A lease stays: whoever is at it loses the confirmation to the new
# generation, and gives it back as due.
_DUE_NOW = """
UPDATE grants_rolebinding b SET generation = b.generation + 1, due_at = stint_now(),
    owed_since = coalesce(b.owed_since, stint_now()), attempts = 0,
    urgency = CASE WHEN b.due_at <= stint_now() THEN least(b.urgency, %s) ELSE %s END
WHERE b.id = ANY (%s)
"""


def due_now(grants: Sequence[Grant], urgency: Urgency = Urgency.ENDED) -> None:
    """Something about what these grants want has changed: their bindings are looked at at once."""
    ids = [grant.pk for grant in grants if grant.role]
    if not ids:
        return
    with connection.cursor() as cursor:
        # Locked by id: two actions that share roles would otherwise wait for each other.
        cursor.execute(
            f"SELECT b.id FROM grants_rolebinding b {JOIN_GRANTS} WHERE g.id = ANY (%s)"  # noqa: S608 (ours)
            " ORDER BY b.id FOR NO KEY UPDATE OF b",
            [ids],
        )
        cursor.execute(_DUE_NOW, [urgency, urgency, [pk for (pk,) in cursor.fetchall()]])


def all_due_now() -> None:
    """Nothing that is known of the provider is believed any more: every binding is looked at at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM grants_rolebinding ORDER BY id FOR NO KEY UPDATE")
        cursor.execute(_DUE_NOW, [Urgency.ELAPSED, Urgency.ELAPSED, [pk for (pk,) in cursor.fetchall()]])


def of(grant: Grant) -> RoleBinding | None:
    """The binding that this grant wants or wanted; None where its access lives at the gate alone."""
    if not grant.role:
        return None
    identities = Identity.objects.filter(subject=grant.beneficiary_id, idp=grant.idp_id)
    return (
        RoleBinding.objects.select_related("idp")
        .filter(idp=grant.idp_id, role=grant.role, external_id__in=identities.values("external_id"))
        .first()
    )


def also_wants(grant: Grant, now: datetime) -> Grant | None:
    """Another grant that is live and keeps the same role: of several the one that lasts longest."""
    return _of_same_role(grant).live_at(now).order_by(Coalesce("ended_at", "ends_at").desc()).first()


def outlived_by(grant: Grant, now: datetime) -> Grant | None:
    """The grant with whose end the role was really due to go: others of it adjoined this one, and are over by now."""
    over = _of_same_role(grant).alias(until=Coalesce("ended_at", "ends_at")).filter(until__lte=now)
    last = None
    while kept := over.filter(starts_at__lte=(last or grant).over_at, until__gt=(last or grant).over_at).last():
        last = kept
    return last


def _of_same_role(grant: Grant) -> GrantQuerySet:
    same = Grant.objects.filter(beneficiary=grant.beneficiary_id, idp=grant.idp_id, role=grant.role)
    return same.exclude(pk=grant.pk)


def overdue(now: datetime) -> QuerySet[RoleBinding]:
    """What is owed at a provider for longer than OVERDUE, whoever is at it; oldest first."""
    owed = RoleBinding.objects.select_related("idp").filter(due_at__isnull=False)
    return owed.alias(since=Coalesce("owed_since", "due_at")).filter(since__lt=now - OVERDUE).order_by("since", "pk")
