"""The identity providers of this portal: their settings, their rows, and the connection for sign-in."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from accounts.models import IdP
from accounts.provider import Provider
from grants.adapters.idp.kinds import KINDS, ProviderSettings


def default() -> ProviderSettings:
    """Return the settings of the provider for sign-in."""
    chosen: ProviderSettings = settings.ENV.provider
    return chosen


@cache
def provider() -> Provider:
    """Return the connection to the provider for sign-in. The first sign-in makes its first call."""
    return Provider(default().issuer, places=max(1, settings.ENV.web_threads // 2))


def in_words(kind: str) -> str:
    """The name of this kind of provider in a sentence; "" when the kind says nothing about the brand."""
    return KINDS[kind].title


def row_of(chosen: ProviderSettings) -> IdP:
    """Return the row that identities of this provider point at; make it at its first use and keep it up to date."""
    wanted = {"kind": chosen.kind, "issuer": chosen.issuer, "client_id": chosen.client_id}
    idp, _ = IdP.objects.get_or_create(slug=chosen.slug, defaults=wanted)
    if any(getattr(idp, name) != value for name, value in wanted.items()):
        IdP.objects.filter(pk=idp.pk).update(**wanted)
        idp.refresh_from_db()
    return idp
