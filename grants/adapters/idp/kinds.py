"""The kinds of identity provider, and the settings of one: what the rest of Stint asks, never for a kind's name.

It imports no adapter, so that settings, sign-in and the gate's process can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grants.adapters.idp.base import Capabilities


class Kind(NamedTuple):
    """A brand of provider. A field that is not given is what any OpenID provider is."""

    label: str  # in a table
    title: str = ""  # as people call it in a sentence; "" for one that could be anything
    can: Capabilities = Capabilities()
    needs: tuple[str, ...] = ()  # fields of ProviderSettings without which it can't do that


KINDS: Mapping[str, Kind] = {
    "oidc": Kind("OpenID Connect, sign-in only"),
    "demo": Kind(
        "Stint's demo provider",
        "the demo’s provider",
        Capabilities(directory=True, roles=True),
        needs=("admin_secret_ref", "admin_url"),
    ),
    "keycloak": Kind(
        "Keycloak",
        "Keycloak",
        Capabilities(directory=True, roles=True, group_paths=True, absent_claim_is_empty=True),
        needs=("admin_secret_ref",),
    ),
}
GIVE_ROLES = tuple(name for name, kind in KINDS.items() if kind.can.roles)


class ProviderSettings(NamedTuple):
    """What the settings say of one identity provider, but for the secret of sign-in; docs/settings.md explains each."""

    slug: str
    kind: str  # of KINDS
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
        """What a provider of this kind can do."""
        return KINDS[self.kind].can

    @property
    def has_directory(self) -> bool:
        """Can Stint read who there is?"""
        return self.can.directory and bool(self.admin_secret_ref)


def realm_of(issuer: str) -> tuple[str, str] | None:
    """The base URL and the realm's name of a Keycloak's issuer, https://host/realms/NAME; None of any other URL."""
    base, found, realm = issuer.partition("/realms/")
    return (base, realm) if found and base and realm and "/" not in realm else None
