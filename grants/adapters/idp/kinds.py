"""The kinds of identity provider, what each can do, and the settings of one provider.

Other modules read capabilities here instead of comparing names of kinds. This module imports no adapter, so that
settings, sign-in and the gate's process can import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grants.adapters.idp.base import Capabilities


class ProviderKind(NamedTuple):
    """A kind of provider. The defaults describe any OpenID Connect provider."""

    label: str  # its name in a table
    title: str = ""  # its name in a sentence; "" when the kind says nothing about the brand
    can: Capabilities = Capabilities()
    needs: tuple[str, ...] = ()  # the fields of ProviderSettings that these capabilities need


KINDS: Mapping[str, ProviderKind] = {
    "oidc": ProviderKind("OpenID Connect, sign-in only"),
    "demo": ProviderKind(
        "Stint's demo provider",
        "the demo’s provider",
        Capabilities(directory=True, roles=True),
        needs=("admin_secret_ref", "admin_url"),
    ),
    "keycloak": ProviderKind(
        "Keycloak",
        "Keycloak",
        Capabilities(directory=True, roles=True, group_paths=True, absent_claim_is_empty=True),
        needs=("admin_secret_ref",),
    ),
}
GIVE_ROLES = tuple(name for name, kind in KINDS.items() if kind.can.roles)


class ProviderSettings(NamedTuple):
    """The settings of one identity provider without the client secret of sign-in; docs/settings.md explains each."""

    slug: str
    kind: str  # a key of KINDS
    issuer: str
    client_id: str
    groups_claim: str
    absent_groups_mean_none: bool
    team_prefix: str
    admin_group: str
    auditor_group: str
    first_admin: str
    admin_url: str
    admin_client_id: str
    admin_secret_ref: str
    role_client: str

    @property
    def can(self) -> Capabilities:
        """The capabilities of this kind of provider."""
        return KINDS[self.kind].can

    @property
    def has_directory(self) -> bool:
        """Can Stint read all people of this provider?"""
        return self.can.directory and bool(self.admin_secret_ref)


def realm_of(issuer: str) -> tuple[str, str] | None:
    """Split a Keycloak's issuer, https://host/realms/NAME, into base URL and realm name; None for any other URL."""
    base, found, realm = issuer.partition("/realms/")
    return (base, realm) if found and base and realm and "/" not in realm else None
