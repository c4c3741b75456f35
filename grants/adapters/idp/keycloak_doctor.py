"""Check that Stint's service account at Keycloak has exactly the rights it needs, and say how to fix what differs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from grants.adapters.errors import Missing, Refused
from grants.adapters.idp.base import Finding
from grants.adapters.idp.keycloak_realm import MANAGEMENT, Realm, q

# Keycloak answers a missing right with 403 and no explanation, so each right is also tried.
NEEDED = {
    "manage-users": "read people and groups, give and take roles",
    "view-realm": "read roles of the realm, and what they are made of",
    "manage-clients": "make the roles of Stint's client, and see into composite ones",
}
_IMPLIED = {"query-users", "query-groups", "query-clients", "query-realms"}  # they only read lists of names
_TRIED = {"manage-users": "users?max=1", "view-realm": "roles?max=1", "manage-clients": "clients?max=1"}


class _HeldRole(NamedTuple):
    """A role of the service account, the group it comes from, and the rights of realm-management that it contains."""

    role: str
    group: str  # "" when the account has it directly
    brings: frozenset[str]


def examine(realm: Realm, role_client: str) -> Iterator[Finding]:
    """Yield what is right and what is wrong. Raises Unavailable."""
    try:
        claims = _claims(realm.token(instead_of=realm.token()))
    except Refused as error:
        yield Finding(ok=False, what=error.reason, fix="Put that right first: without a token nothing can be seen.")
        return
    held = _in_token(claims) | _effective(realm, claims)
    for right, why in NEEDED.items():
        if right in held and _can(realm, right):
            yield Finding(ok=True, what=f"{right}: {why}.")
        else:
            fix = f"Assign {right} of {MANAGEMENT} to the service account of {realm.client_id}."
            if right in held:
                fix = f"Give client {realm.client_id} the default client scope `roles`, with full scope allowed."
            yield Finding(ok=False, what=f"{right} is missing: Stint can't {why}.", fix=fix)
    yield from _surplus(realm, claims, held - set(NEEDED) - _IMPLIED)
    try:
        realm.client(role_client, fresh=True)
    except (Missing, Refused):
        fix = f"Make the client {role_client}, or set STINT_IDP_ROLE_CLIENT."
        yield Finding(ok=False, what=f"There is no client {role_client} for Stint's roles.", fix=fix)
    else:
        yield Finding(ok=True, what=f"Client {role_client} holds the roles that Stint makes.")


def _surplus(realm: Realm, claims: Mapping[str, Any], surplus: set[str]) -> Iterator[Finding]:
    """Yield the rights that are too many, by the role that contains them, so that an admin knows which role to take."""
    account = f"the service account of {realm.client_id}"
    left = set(surplus)
    for held in _held_roles(realm, claims) if surplus else ():
        if not (too_much := sorted(held.brings & surplus)):
            continue
        left -= set(too_much)
        if held.group:
            fix = f"Take {account} out of group {held.group}, or {held.role} from that group."
        elif held.role.startswith("default-roles-"):
            fix = f"Take it from the realm's default roles ({held.role}), where everybody has it."
        else:
            fix = f"Take {held.role} from {account}."
        yield Finding(ok=False, what=_more(too_much), fix=fix)
    for right in sorted(left):
        yield Finding(ok=False, what=_more([right]), fix=f"Take {right} from {account}, or what contains it.")


def _more(rights: list[str]) -> str:
    return f"{', '.join(rights)} {'is' if len(rights) == 1 else 'are'} more than Stint needs."


def _can(realm: Realm, right: str) -> bool:
    try:
        answer = realm.call("GET", _TRIED[right])
    except Refused:
        return False
    return bool(answer)  # with too few rights Keycloak sends some lists empty instead of refusing


def _effective(realm: Realm, claims: Mapping[str, Any]) -> set[str]:
    """All rights of the account, direct or not, which the token may not list; empty when Stint may not read them."""
    try:
        path = f"users/{q(str(claims.get('sub')))}/role-mappings/clients/{realm.client(MANAGEMENT)}/composite"
        return {str(role.get("name")) for role in realm.rows(path)}
    except (Missing, Refused):
        return set()


def _held_roles(realm: Realm, claims: Mapping[str, Any]) -> list[_HeldRole]:
    """The roles of the service account and of its groups; empty when Stint may not read them."""
    me = q(str(claims.get("sub")))
    try:
        management = realm.client(MANAGEMENT)
        found = list(_mapped(realm, f"users/{me}", "", management))
        for group in realm.rows(f"users/{me}/groups"):
            for at in _upwards(realm, group):  # a group inherits the roles of its parent groups
                found += _mapped(realm, f"groups/{q(at['id'])}", str(at.get("path")), management)
    except (Missing, Refused):
        return []
    return found


def _upwards(realm: Realm, group: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for _ in range(20):
        yield group
        parent = group.get("parentId")
        if not isinstance(parent, str):
            return
        group = realm.call("GET", f"groups/{q(parent)}")


def _mapped(realm: Realm, whose: str, group: str, management: str) -> Iterator[_HeldRole]:
    answer = realm.call("GET", f"{whose}/role-mappings")
    of_clients = [role for one in answer.get("clientMappings", {}).values() for role in one["mappings"]]
    for role in [*answer.get("realmMappings", []), *of_clients]:
        yield _HeldRole(role["name"], group, frozenset(_brings(realm, role, management)))


def _brings(realm: Realm, role: Mapping[str, Any], management: str) -> Iterator[str]:
    seen, left = {role["id"]}, [role]
    while left:
        one = left.pop()
        if one.get("containerId") == management:
            yield one["name"]
        if one.get("composite"):
            parts = [part for part in realm.rows(f"roles-by-id/{q(one['id'])}/composites") if part["id"] not in seen]
            seen |= {part["id"] for part in parts}
            left += parts


def _claims(token: str) -> Mapping[str, Any]:
    """The claims of our own token. Its signature is not checked: it came straight from Keycloak."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _in_token(claims: Mapping[str, Any]) -> set[str]:
    match claims:
        case {"resource_access": {"realm-management": {"roles": [*roles]}}}:
            return {str(role) for role in roles}
    return set()
