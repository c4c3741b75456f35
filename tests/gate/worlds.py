"""Small worlds for the pure tests: snapshots made of few words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import ByCredential, CatalogEntry, Credential, Grant, Principal, Snapshot, Upstream
from grants.tokens.mint import mint

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UPSTREAM = Upstream("prefect", "prefect", "prefect.example.org", "http://10.0.0.5:4200/api", "production", "env:X")
OTHER = UPSTREAM._replace(slug="other", host="other.example.org")
SERVER = Key("prefect", "server", "server")


def grant(
    pk: int,
    resource: Key,
    level: Level,
    *,
    subject: int = 1,
    starts_at: datetime = NOW - HOUR,
    until: datetime = NOW + HOUR,
    drain: timedelta = timedelta(),
) -> Grant:
    return Grant(pk, subject, resource, level, starts_at, until, until + drain)


def snapshot(
    grants: Iterable[Grant] = (), credentials: Iterable[Credential] = (), subjects: Iterable[int] = (1, 2)
) -> Snapshot:
    held = list(grants)
    return Snapshot(
        version=1,
        checked_at=0.0,
        clock_offset=timedelta(),
        credentials={credential.digest: credential for credential in credentials},
        subjects=frozenset(subjects),
        grants={one.id: one for one in held},
        grants_of={pk: [one.id for one in held if one.subject == pk] for pk in {one.subject for one in held}},
        resources={
            one.resource: CatalogEntry(100 + one.id, one.resource, f"name of {one.resource.id}") for one in held
        },
        upstreams={UPSTREAM.host: UPSTREAM, OTHER.host: OTHER},
    )


def person(subject: int = 1, *, grants: tuple[int, ...] | None = None, until: datetime = NOW + 8 * HOUR) -> Principal:
    return Principal(subject, ByCredential(7), None if grants is None else frozenset(grants), until)


class Held(NamedTuple):
    token: str
    credential: Credential


def token(kind: str = "token", **changes: object) -> Held:
    minted = mint(kind)
    credential = Credential(
        id=7,
        kind=kind,
        digest=minted.digest,
        subject=1,
        connection="prefect",
        grant=1 if kind == "token" else None,
        expires_at=NOW + HOUR,
        revoked=False,
    )
    return Held(minted.token, credential._replace(**changes))
