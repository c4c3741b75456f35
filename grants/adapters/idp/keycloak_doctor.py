"""Has Stint's service account at Keycloak exactly the rights it needs? What is not so, with the fix."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Protocol

from grants.adapters.errors import Missing, Refused
from grants.adapters.idp.base import Finding

# Facts: identity §2.1. Keycloak answers a missing right with a bare 403, so each is also tried.
NEEDED = {
    "manage-users": "read people and groups, give and take roles",
    "view-realm": "read roles of the realm, and what they are made of",
    "manage-clients": "make the roles of Stint's client, and see into composite ones",
}
_IMPLIED = {"query-users", "query-groups", "query-clients", "query-realms"}  # read lists of names, no more
_TRIED = {"manage-users": "users?max=1", "view-realm": "roles?max=1", "manage-clients": "clients?max=1"}


class Realm(Protocol):
    client_id: str
    role_client: str

    def token(self, *, instead_of: str = "") -> str: ...
    def _call(self, method: str, path: str, **content: Any) -> Any: ...
    def _client(self, client_id: str) -> str: ...


def examine(keycloak: Realm) -> Iterator[Finding]:
    """What is right and wrong, one after the other. Raises Unavailable, or Refused when not even a token is given."""
    held = _held(keycloak.token(instead_of=keycloak.token()))
    if held is None:
        yield Finding(
            ok=False,
            what=f"The token of {keycloak.client_id} does not say its rights.",
            fix=f"Give client {keycloak.client_id} the default client scope `roles`, with full scope allowed.",
        )
    for right, why in NEEDED.items():
        can = _can(keycloak, right)
        if (held is None or right in held) and can:
            yield Finding(ok=True, what=f"{right}: {why}.")
        else:
            fix = f"Assign {right} of realm-management to the service account of {keycloak.client_id}."
            yield Finding(ok=False, what=f"{right} is missing: Stint can't {why}.", fix=fix)
    for right in sorted((held or set()) - set(NEEDED) - _IMPLIED):
        fix = f"Take {right} from the service account of {keycloak.client_id}."
        yield Finding(ok=False, what=f"{right} is more than Stint needs.", fix=fix)
    try:
        keycloak._client(keycloak.role_client)  # noqa: SLF001 (the other half of this class)
    except (Missing, Refused):
        fix = f"Make the client {keycloak.role_client}, or set STINT_IDP_ROLE_CLIENT."
        yield Finding(ok=False, what=f"There is no client {keycloak.role_client} for Stint's roles.", fix=fix)
    else:
        yield Finding(ok=True, what=f"Client {keycloak.role_client} holds the roles that Stint makes.")


def _can(keycloak: Realm, right: str) -> bool:
    try:
        answer = keycloak._call("GET", _TRIED[right])  # noqa: SLF001 (as above)
    except Refused:
        return False
    return bool(answer)  # with too few rights some lists are empty instead of refused


def _held(token: str) -> set[str] | None:
    """The rights in our own token, which came straight from Keycloak; None when it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        access = claims.get("resource_access")
        if access is None:
            return None
        return set(access.get("realm-management", {}).get("roles", []))
    except (IndexError, ValueError, AttributeError):
        return None
