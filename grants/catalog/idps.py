"""The adapter of the provider of the settings, and what each kind of provider can do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import IdP as IdPRow
from grants import due
from grants.adapters.errors import Refused
from grants.adapters.idp.base import Capabilities, IdP
from grants.adapters.idp.demo import Demo
from grants.adapters.idp.keycloak import Keycloak
from grants.adapters.idp.takes_only import TakesOnly
from grants.adapters.secrets import resolve_secret
from grants.audit import export

CAPABILITIES: Mapping[str, Capabilities] = {
    "oidc": Capabilities(),
    "demo": Capabilities(directory=True, roles=True),
    "keycloak": Capabilities(directory=True, roles=True, realm_roles=True, absent_claim_is_empty=True),
}


def connect(idp_id: int) -> IdP:
    """The adapter of this provider, kept with its connections. Raises Refused: it is not this portal's, or has none.

    It gives no role while the database is a backup whose restore was not declared, or was but not settled yet.
    """
    slug = IdPRow.objects.values_list("slug", flat=True).get(pk=idp_id)
    if slug != settings.ENV.idp_slug:
        raise Refused(f"The provider {slug} is not the one of this portal's settings any more.")
    why = _not_to_give(slug)
    return TakesOnly(adapter(), why) if why else adapter()


def after_restore(slug: str) -> str:
    """The name of the due row that looks for roles which a restored database knows nothing of."""
    return f"restored:{slug}"


def _not_to_give(slug: str) -> str:
    try:
        behind = export.behind()
    except (export.HeadKeyError, OSError) as error:
        return f"Nothing is given: the exported heads could not be read. {error}"
    if behind:
        return f"Nothing is given. {behind}"
    if due.is_known(after_restore(slug)):
        return "Nothing is given until the roles that were given before the restore are looked at."
    return ""


def adapter() -> IdP:
    """The adapter of the settings. Raises Refused when its kind has none or the settings lack what it needs."""
    env = settings.ENV
    return _adapter(env.idp_kind, env.oidc_issuer, env.idp_admin_url, resolve_secret(env.idp_admin_secret_ref))


@lru_cache(maxsize=2)  # by the secret's value, so that a rotated one makes a new adapter
def _adapter(kind: str, issuer: str, url: str | None, secret: str) -> IdP:
    env = settings.ENV
    if kind == "demo" and url:
        return Demo(url, secret=secret)
    if kind == "keycloak":
        base, found, realm = issuer.partition("/realms/")
        if not found or not realm or "/" in realm or not urlsplit(base).hostname:
            raise Refused("A Keycloak's issuer is https://host/realms/NAME: look at STINT_OIDC_ISSUER.")
        return Keycloak(
            url or base, realm, client_id=env.idp_admin_client_id, secret=secret, role_client=env.idp_role_client
        )
    raise Refused("This provider has no account for Stint: set STINT_IDP_KIND and STINT_IDP_ADMIN_URL.")
