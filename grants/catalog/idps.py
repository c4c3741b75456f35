"""Which kinds of provider can do what. (Placeholder until the adapters' branch is merged.)"""

from __future__ import annotations

from collections.abc import Mapping

from grants.adapters.errors import Refused
from grants.adapters.idp.base import Capabilities, IdP

CAPABILITIES: Mapping[str, Capabilities] = {
    "oidc": Capabilities(),
    "demo": Capabilities(directory=True, roles=True),
    "keycloak": Capabilities(directory=True, roles=True, realm_roles=True, absent_claim_is_empty=True),
}


def connect(idp_id: int) -> IdP:
    raise Refused(f"No provider for {idp_id}.")
