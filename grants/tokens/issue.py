"""Issue, list, replace and revoke service tokens. Each belongs to one grant and ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max, Q, QuerySet, Sum

from accounts import service_identities
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from accounts.written import Written, a_row
from grants import clock, due
from grants.audit import Verb, record
from grants.catalog.levels import SERVICES_ONLY, Level
from grants.lifecycle import access
from grants.lifecycle.models import Grant
from grants.tokens.mint import mint
from grants.tokens.models import Credential
from grants.tokens.sentences import Says
from grants.tokens.usage import PASSED

USUAL = timedelta(hours=1)
SHORTEST = timedelta(minutes=1)
LIVE_MAX = 20  # tokens of one grant; with more, nobody can tell which are still needed

Kind = Credential.Kind


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token. `token` is shown once, here; it appears in no log and no traceback."""

    credential: Credential
    token: str = field(repr=False)


class Listed(NamedTuple):
    """A token as the grant's page lists it."""

    credential: Credential
    over: bool  # expired, revoked, or ended with its grant
    ended_at: datetime  # when it ends or ended
    last_used: datetime | None  # to the minute, whether the call was let through or refused
    calls: int
    refused: int


def why_not(grant: Grant, by: Subject) -> str:
    """Say in a sentence why this person cannot issue tokens for this grant now; "" when they can."""
    try:
        _permit(grant, by, clock.of_page())
    except (NotAllowed, Conflict) as error:
        return error.reason
    return ""


def may_issue(grant: Grant, by: Subject) -> bool:
    return not why_not(grant, by)


def may_revoke(credential: Credential, by: Subject) -> bool:
    """May this person revoke the token: as its user, or because they could revoke its grant?"""
    return credential.grant is not None and acts_on(credential.grant, by)


def acts_on(grant: Grant, by: Subject) -> bool:
    """May this person revoke the tokens of a grant: as their user, or because they could revoke the grant?"""
    return service_identities.acts_for(by, grant.beneficiary) or access.may_revoke(grant, by)


def ends_at(grant: Grant, lasts: timedelta | None, now: datetime) -> datetime:
    """When a token issued now ends: in an hour or the time asked for; one for `work` ends with its grant's drain."""
    if lasts is None and Level.of(grant.level) in SERVICES_ONLY:
        return grant.drained_at
    return min(now + (lasts or USUAL), grant.drained_at)


def issue(grant: Grant, *, by: Subject, lasts: timedelta | None = None) -> Issued:
    """Issue a token for the holder of a live grant, or for a member of the team whose identity holds it.

    Raises NotAllowed, or Conflict when the access is over.
    """
    with transaction.atomic():
        grant = _lock(grant)
        now = clock.now()
        _permit(grant, by, now)
        live = live_of(grant, now).count()
        if live >= LIVE_MAX:
            raise NotAllowed(Says.TOO_MANY, live=live, grant=grant.ref)
        issued = make(grant, by=by, until=_until(grant, lasts, now), now=now)
        record(Verb.TOKEN_ISSUED, by=by, on=[issued.credential], grant=grant.pk, subject=grant.beneficiary_id)
    return issued


def rotate(credential: Credential, *, by: Subject) -> Issued:
    """Replace this token by a new one with the same lifetime; the gate refuses the old one from the next call on.

    Raises NotAllowed, or Conflict when the token or the access is over.
    """
    with transaction.atomic():
        grant = _lock(_grant_of(credential))
        old = _lock_credential(credential)
        now = clock.now()
        _permit(grant, by, now)
        _still_works(old, now)
        until = _until(grant, old.expires_at - old.issued_at, now)
        issued = make(grant, by=by, until=until, now=now)
        end([old], now)
        _deliver_anew(old)
        changed = [old, issued.credential]
        record(Verb.TOKEN_ROTATED, by=by, on=changed, grant=grant.pk, subject=grant.beneficiary_id)
    return issued


def revoke(credential: Credential, *, by: Subject) -> Credential:
    """Revoke a token: the gate refuses it from the next call on; the grant stays. Raises NotAllowed or Conflict."""
    grant = _grant_of(credential)
    if not may_revoke(credential, by):
        raise NotAllowed(Says.NOT_REVOCABLE)
    with transaction.atomic():
        old = _lock_credential(credential)
        now = clock.now()
        _still_works(old, now)
        end([old], now)
        _deliver_anew(old)
        record(Verb.TOKEN_REVOKED, by=by, on=[old], grant=grant.pk, subject=grant.beneficiary_id)
    old.refresh_from_db()
    return old


def of_grant(grant: Grant) -> list[Listed]:
    """List the tokens of a grant, the newest first, with the time of their last use."""
    now = clock.of_page()
    return [
        Listed(token, token.is_over_at(now), token.ended_at, token.last, int(token.calls or 0), int(token.refused or 0))
        for token in _tokens(grant=grant.pk)
    ]


@Written
def _tokens() -> QuerySet[Any, Any]:
    used = Q(usage__code=PASSED)
    return (
        Credential.objects.filter(grant=a_row("grant"), kind=Kind.TOKEN)
        .select_related("grant", "issued_by", "subject", "connection")
        .annotate(last=Max("usage__minute"), calls=Sum("usage__n", filter=used), refused=Sum("usage__n", filter=~used))
        .order_by("-pk")
    )


def live_of(grant: Grant, now: datetime) -> QuerySet[Credential]:
    """The tokens of a live grant that are still valid."""
    return Credential.objects.filter(grant=grant, revoked_at=None, expires_at__gt=now)


def make(grant: Grant, *, by: Subject | None, until: datetime, now: datetime) -> Issued:
    """Make the row of a new token; the caller records it."""
    minted = mint(Kind.TOKEN)
    credential = Credential.objects.create(
        kind=Kind.TOKEN,
        key_id=minted.key_id,
        digest=minted.digest,
        subject_id=grant.beneficiary_id,
        connection_id=grant.resource.connection_id,
        grant=grant,
        grant_until=grant.drain_until,
        issued_at=now,
        issued_by=by,
        expires_at=until,
    )
    return Issued(credential, minted.token)


def end(credentials: Sequence[Credential], now: datetime) -> None:
    """Revoke rows that the caller has locked and then records."""
    Credential.objects.filter(pk__in=[one.pk for one in credentials], revoked_at=None).update(revoked_at=now)


def _deliver_anew(old: Credential) -> None:
    """Make the delivery due now, for a machine whose file holds a token that was just revoked."""
    if old.issued_by_id is None:
        due.hurry(access.token_job(old.subject_id))


def _permit(grant: Grant, by: Subject, now: datetime) -> None:
    holder = grant.beneficiary
    if not service_identities.acts_for(by, holder):  # admins neither: being admin gives no right at the gate
        if holder.kind == Subject.Kind.SERVICE:
            raise NotAllowed(Says.NOT_OF_TEAM, name=holder.name)
        raise NotAllowed(Says.NOT_HELD)
    if not holder.active:
        raise NotAllowed(Says.INACTIVE, name=holder.name)
    if not grant.is_live_at(now):
        raise Conflict(Says.GRANT_OVER if now >= grant.over_at else Says.NOT_BEGUN, grant=grant.ref)


def _until(grant: Grant, lasts: timedelta | None, now: datetime) -> datetime:
    if lasts is not None and lasts < SHORTEST:
        raise NotAllowed(Says.TOO_SHORT)
    return ends_at(grant, lasts, now)


def _still_works(credential: Credential, now: datetime) -> None:
    if credential.is_over_at(now):
        raise Conflict(Says.OVER if credential.revoked_at is None else Says.REVOKED)


def _grant_of(credential: Credential) -> Grant:
    if credential.grant is None:
        raise NotAllowed(Says.IS_SESSION)
    return credential.grant


def _lock(grant: Grant) -> Grant:
    """Lock the grant before the clock is read, so that an action that ends the grant at this moment is seen."""
    rows = Grant.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("beneficiary", "resource__connection").get(pk=grant.pk)


def _lock_credential(credential: Credential) -> Credential:
    rows = Credential.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("grant").get(pk=credential.pk)
