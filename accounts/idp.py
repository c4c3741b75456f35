"""The identity provider of this portal: its row, and the connection to it."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from accounts.models import IdP
from accounts.provider import Provider


@cache
def provider() -> Provider:
    """The provider of the settings; nothing is asked of it before somebody signs in."""
    return Provider(settings.ENV.oidc_issuer, places=max(1, settings.ENV.web_threads // 2))


def in_words(kind: str) -> str:
    """A provider of this kind as people know it; "" for one that could be anything."""
    return {IdP.Kind.KEYCLOAK.value: "Keycloak", IdP.Kind.DEMO.value: "the demo’s provider"}.get(kind, "")


def this_idp() -> IdP:
    """The row that identities of this provider point at, made at its first use and kept with the settings."""
    env = settings.ENV
    wanted = {"kind": env.idp_kind, "issuer": env.oidc_issuer, "client_id": env.oidc_client_id}
    idp, _ = IdP.objects.get_or_create(slug=env.idp_slug, defaults=wanted)
    if any(getattr(idp, name) != value for name, value in wanted.items()):
        IdP.objects.filter(pk=idp.pk).update(**wanted)
        idp.refresh_from_db()
    return idp
