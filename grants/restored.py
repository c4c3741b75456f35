"""End what a restored backup revived, and record the restore."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.functions import Coalesce

from accounts.models import IdP, PortalRole, RecoveryCode
from grants import clock, due
from grants.adapters.idp.kinds import GIVE_ROLES
from grants.audit import Event, Verb, chain, export, record_all
from grants.audit.models import AuditHead
from grants.audit.verify import newest_kept
from grants.identity.providers import after_restore
from grants.lifecycle import access, bindings, decide
from grants.lifecycle.models import Grant, GrantQuerySet, Request
from grants.tokens.models import Credential

JUMP = 1_000_000  # numbers that are skipped after the last exported head; more events than any gate has seen since
CHUNK = 500  # credentials in one event


@dataclass(frozen=True, slots=True)
class RestoredState:
    """What a restored database contains before anything is ended."""

    now: datetime
    head: int
    exported: int  # number of the newest exported head; 0 without one
    behind: str  # why this is a restored backup, in a sentence; "" when nothing says so
    grants: list[Grant]  # live
    requests: int  # pending
    credentials: int
    sessions: int
    admins: list[PortalRole]


def look() -> RestoredState:
    """Return what the restored database contains. Raises HeadKeyError, OSError."""
    now, last = clock.now(), export.last_exported()
    return RestoredState(
        now=now,
        head=AuditHead.objects.get().seq,
        exported=last.seq if last else 0,
        behind=export.behind(),
        grants=list(_open(now).select_related("beneficiary", "resource__connection")),
        requests=Request.objects.filter(state=Request.State.PENDING).count(),
        credentials=Credential.objects.filter(revoked_at=None, expires_at__gt=now).count(),
        sessions=Session.objects.count(),
        admins=list(PortalRole.objects.select_related("subject").order_by("role", "subject__name")),
    )


def declare(*, keep: Collection[int] = (), above: int = 0) -> int:
    """End what the backup revived, except the grants in `keep`, and record the restore; return its event's number.

    Only the owner of the tables may do this. `above`: the number of an event that a gate has seen, if it is more than a
    million above the exported heads. All of it is one transaction. The line in the heads file is written in it, too: a
    line without its event does no harm, and the next try uses a higher number. Raises HeadKeyError, OSError.
    """
    last = export.last_exported()
    with transaction.atomic():
        requests = list(Request.objects.filter(state=Request.State.PENDING).order_by("pk").select_for_update())
        grants = list(_open(clock.now()).select_for_update(no_key=True, of=("self",)))
        bindings.all_due_now()
        credentials = list(Credential.objects.filter(revoked_at=None).order_by("pk").select_for_update(no_key=True))
        now = clock.now()
        credentials = [one for one in credentials if one.expires_at > now]
        ended = [grant for grant in grants if grant.pk not in keep]
        events = decide.lapse_restored(requests, now) + access.end_restored(ended, now)
        events += _revoke(credentials, now)
        Session.objects.all().delete()
        RecoveryCode.objects.filter(used_at=None).delete()
        for idp in IdP.objects.filter(kind__in=GIVE_ROLES):
            due.ensure(after_restore(idp.slug))
        head = AuditHead.objects.select_for_update(no_key=True).get()
        lost, after = last.seq if last else 0, newest_kept()
        seq = max(head.seq, lost, above) + JUMP
        facts: dict[str, chain.Fact] = {
            "kept": head.seq,
            "after": after,
            "lost": lost,
            "lost_hash": last.hash.hex() if last else "",
            "revoked": len(ended),
            "confirmed": sorted(grant.pk for grant in grants if grant.pk in keep),
            "lapsed": len(requests),
            "credentials_revoked": len(credentials),
        }
        digest = chain.mark_restored(facts, seq=seq)
        record_all(events, by="operator")
        export.export_restore(seq, digest, after=after)
    return seq


def _open(now: datetime) -> GrantQuerySet:
    """Grants that are or will be live; the sweeper closes those that are over."""
    return (
        Grant.objects.annotate(until=Coalesce("ended_at", "ends_at"))
        .filter(closed_at=None, until__gt=now)
        .order_by("pk")
    )


def _revoke(credentials: list[Credential], now: datetime) -> list[Event]:
    Credential.objects.filter(pk__in=[one.pk for one in credentials]).update(revoked_at=now)
    return [
        Event(Verb.CREDENTIALS_REVOKED, {}, credentials[start : start + CHUNK])
        for start in range(0, len(credentials), CHUNK)
    ]
