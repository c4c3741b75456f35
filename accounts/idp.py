"""The identity providers of this portal: their settings, their rows, and the connection for signing in."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from accounts.models import IdP
from accounts.provider import Provider
from grants.adapters.idp.kinds import KINDS, ProviderSettings


def default() -> ProviderSettings:
    """The provider that people sign in by."""
    chosen: ProviderSettings = settings.ENV.provider
    return chosen


@cache
def provider() -> Provider:
    """The connection to it; nothing is asked of it before somebody signs in."""
    return Provider(default().issuer, places=max(1, settings.ENV.web_threads // 2))


def in_words(kind: str) -> str:
    """A provider of this kind as people know it; "" for one that could be anything."""
    return KINDS[kind].title


def settings_of(idp: IdP) -> ProviderSettings | None:
    """What the settings say of the provider of this row; None when they no longer name it."""
    found: ProviderSettings | None = settings.ENV.providers.get(idp.slug)
    return found


def row_of(chosen: ProviderSettings) -> IdP:
    """The row that identities of this provider point at, made at its first use and kept with the settings."""
    wanted = {"kind": chosen.kind, "issuer": chosen.issuer, "client_id": chosen.client_id}
    idp, _ = IdP.objects.get_or_create(slug=chosen.slug, defaults=wanted)
    if any(getattr(idp, name) != value for name, value in wanted.items()):
        IdP.objects.filter(pk=idp.pk).update(**wanted)
        idp.refresh_from_db()
    return idp
