"""Deliver tokens as files: write each where the machine reads it, and replace it before it expires.

The file itself is the only record of which token was delivered.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Coalesce

from grants import clock
from grants.audit import Verb, record
from grants.lifecycle.models import Grant
from grants.references import ref
from grants.tokens import issue
from grants.tokens.delivery import base
from grants.tokens.mint import read
from grants.tokens.models import Credential, Delivery

LOOK_AGAIN = timedelta(minutes=1)  # a file may be deleted at any time
SOON = timedelta(seconds=1)
_FILE_MAX = 200  # bytes; a token has 72
_OURS = re.compile(r"[0-9]+\.[a-z]+|\.[0-9]+\.[a-z]+\.[0-9a-f]{16}")  # a token, or a cut-short write


class NoFolder(OSError):
    """STINT_TOKEN_DIR is not set for this worker."""

    def __init__(self) -> None:
        super().__init__("STINT_TOKEN_DIR is not set, so no token is delivered")


def path_of(subject_id: int, resource_id: int, level: str) -> Path:
    """The file for this level on this resource, the same for each later grant. Raises NoFolder."""
    folder: Path | None = settings.ENV.token_dir
    if folder is None:
        raise NoFolder
    return folder / _folder_name(subject_id) / f"{resource_id}.{level}"


def _folder_name(subject_id: int) -> str:
    return ref("subject", subject_id)


def deliver(subject_id: int) -> timedelta:
    """Write missing and expiring tokens, remove those that are over; return when to look again. Raises OSError."""
    now = clock.now()
    live = Grant.objects.live_at(now).filter(beneficiary=subject_id, beneficiary__active=True)
    # Of several grants for one file, the one that lasts longest is written last and stays.
    longest = {
        (grant.resource_id, grant.level): grant for grant in live.order_by(Coalesce("ended_at", "ends_at"), "pk")
    }
    again = [_deliver(grant, now) - now for grant in longest.values()]
    _remove_others(subject_id, (path_of(subject_id, *key) for key in longest))
    return max(SOON, min([LOOK_AGAIN, *again]))


def _deliver(grant: Grant, now: datetime) -> datetime:
    """Keep or replace the token of one grant; return when to replace it next, or when its grant is over."""
    path = path_of(grant.beneficiary_id, grant.resource_id, grant.level)
    there = _delivered(path, grant)
    if there is not None and not there.is_over_at(now) and now < (when := _replaced_at(there, grant)):
        return when
    issued = _issue(grant, there)
    if issued is None:
        return now  # the grant ended a moment ago: the next look finds it over
    _write(path, issued.token)
    return _replaced_at(issued.credential, grant)


def _replaced_at(credential: Credential, grant: Grant) -> datetime:
    """When to replace a token: after two thirds of its life; never when it ends with its grant."""
    if credential.expires_at >= grant.drained_at:
        return grant.over_at
    return credential.issued_at + (credential.expires_at - credential.issued_at) * 2 / 3


@transaction.atomic
def _issue(grant: Grant, there: Credential | None) -> issue.Issued | None:
    """Issue a new token. The one in the file stays valid for a machine that has read it; older ones are revoked."""
    grant = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("resource").get(pk=grant.pk)
    now = clock.now()
    if not grant.is_live_at(now):
        return None
    others = issue.live_of(grant, now).filter(issued_by=None)
    if there:
        others = others.exclude(pk=there.pk)
    lost = list(others.order_by("pk").select_for_update(no_key=True, of=("self",)))
    issued = issue.make(grant, by=None, until=issue.ends_at(grant, None, now), now=now)
    issue.end(lost, now)
    verb = Verb.TOKEN_ROTATED if there or lost else Verb.TOKEN_ISSUED
    record(verb, by="delivery", on=[issued.credential, *lost], grant=grant.pk, subject=grant.beneficiary_id)
    return issued


def _delivered(path: Path, grant: Grant) -> Credential | None:
    """The token in the file, if it belongs to this grant."""
    try:
        with open(path, "rb", buffering=0, opener=_not_waiting) as file:
            text = (file.read(_FILE_MAX) or b"").decode("ascii", errors="replace")
    except FileNotFoundError:
        return None
    digest = read(text.strip(), Credential.Kind.TOKEN)
    return Credential.objects.select_related("grant").filter(grant=grant, digest=digest).first() if digest else None


def _not_waiting(path: str, flags: int) -> int:
    """Open without blocking: the machine can put a pipe in place of its file, which must not block the worker."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has neither


def _write(path: Path, token: str) -> None:
    """Write the file completely or not at all, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _remove_others(subject_id: int, kept: Iterable[Path]) -> None:
    """Remove the tokens of grants that are over.

    No other file is touched: whoever can write there could replace the folder by a link.
    """
    folder, keep = path_of(subject_id, 0, "").parent, set(kept)
    for file in folder.iterdir() if folder.is_dir() else ():
        if file not in keep and _OURS.fullmatch(file.name) and not file.is_dir():
            file.unlink(missing_ok=True)


class Files:
    """See base.DeliveryKind."""

    def target(self, service_id: int) -> str:
        return f"STINT_TOKEN_DIR/{_folder_name(service_id)}/"

    def deliver(self, service_id: int) -> timedelta:
        return deliver(service_id)


base.register(Delivery.Kind.FILES, Files())
