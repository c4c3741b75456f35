"""Make and keep the adapter of each identity provider in the settings, with its open connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from django.conf import settings

from accounts.models import IdP
from grants import due
from grants.adapters.errors import Refused
from grants.adapters.idp.base import RoleProvider
from grants.adapters.idp.demo import DemoAdapter
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.adapters.idp.kinds import ProviderSettings, realm_of
from grants.adapters.idp.revoke_only import RevokeOnly
from grants.adapters.secrets import resolve_secret
from grants.audit import export

_KEPT = 16  # adapters; more than there are providers, because each rotated secret makes a new one


def connect(idp_id: int) -> RoleProvider:
    """Return the adapter of the provider with this row.

    It gives no role while the database is a restored backup, until the restore is declared and its roles are checked.
    Raises Refused when the settings do not name the provider, or when its kind has no adapter.
    """
    slug = IdP.objects.values_list("slug", flat=True).get(pk=idp_id)
    chosen = settings_of(slug)
    why = _not_to_give(slug)
    return RevokeOnly(adapter(chosen), why) if why else adapter(chosen)


def settings_of(slug: str) -> ProviderSettings:
    """Return the settings of this provider. Raises Refused when there are none."""
    chosen: ProviderSettings | None = settings.ENV.providers.get(slug)
    if chosen is None:
        raise Refused(f"The settings of this portal no longer name the provider {slug}.")
    return chosen


def after_restore(slug: str) -> str:
    """The name of the due row that looks for roles which a restored database does not know."""
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


def adapter(chosen: ProviderSettings) -> RoleProvider:
    """Return the adapter of this provider. Raises Refused when its kind has none or a setting it needs is missing."""
    return _adapter(chosen, resolve_secret(chosen.admin_secret_ref))


@lru_cache(maxsize=_KEPT)  # by the secret's value, so that a rotated one makes a new adapter
def _adapter(chosen: ProviderSettings, secret: str) -> RoleProvider:
    if chosen.kind not in _MADE_BY:
        raise Refused("This provider has no account for Stint: set STINT_IDP_KIND and STINT_IDP_ADMIN_URL.")
    return _MADE_BY[chosen.kind](chosen, secret)


def _demo(chosen: ProviderSettings, secret: str) -> RoleProvider:
    return DemoAdapter(chosen.admin_url, secret=secret)


def _keycloak(chosen: ProviderSettings, secret: str) -> RoleProvider:
    found = realm_of(chosen.issuer)
    if found is None:
        raise Refused("A Keycloak's issuer is https://host/realms/NAME: look at STINT_OIDC_ISSUER.")
    base, realm = found
    return KeycloakAdapter(
        chosen.admin_url or base,
        realm,
        client_id=chosen.admin_client_id,
        secret=secret,
        role_client=chosen.role_client,
    )


_MADE_BY: Mapping[str, Callable[[ProviderSettings, str], RoleProvider]] = {"demo": _demo, "keycloak": _keycloak}
