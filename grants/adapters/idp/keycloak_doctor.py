"""Has Stint's service account at Keycloak exactly the rights it needs? What is not so, with the fix."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from grants.adapters.errors import Missing, Refused
from grants.adapters.idp.base import Finding
from grants.adapters.idp.keycloak_realm import MANAGEMENT, Realm, q

# Facts: identity §2.1. Keycloak answers a missing right with a bare 403, so each is also tried.
NEEDED = {
    "manage-users": "read people and groups, give and take roles",
    "view-realm": "read roles of the realm, and what they are made of",
    "manage-clients": "make the roles of Stint's client, and see into composite ones",
}
_IMPLIED = {"query-users", "query-groups", "query-clients", "query-realms"}  # read lists of names, no more
_TRIED = {"manage-users": "users?max=1", "view-realm": "roles?max=1", "manage-clients": "clients?max=1"}


class _Source(NamedTuple):
    """A role that the service account has, by which way, and which rights of realm-management come with it."""

    role: str
    group: str  # "" for one of its own
    brings: frozenset[str]


def examine(realm: Realm, role_client: str) -> Iterator[Finding]:
    """What is right and wrong, one after the other. Raises Unavailable."""
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
    """What is too much, by the role that brings it: who is given less must know what to take."""
    account = f"the service account of {realm.client_id}"
    left = set(surplus)
    for source in _sources(realm, claims) if surplus else ():
        if not (too_much := sorted(source.brings & surplus)):
            continue
        left -= set(too_much)
        if source.group:
            fix = f"Take {account} out of group {source.group}, or {source.role} from that group."
        elif source.role.startswith("default-roles-"):
            fix = f"Take it from the realm's default roles ({source.role}), where everybody has it."
        else:
            fix = f"Take {source.role} from {account}."
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
    return bool(answer)  # with too few rights some lists are empty instead of refused


def _effective(realm: Realm, claims: Mapping[str, Any]) -> set[str]:
    """The rights that count, by whatever way they come; what the token says may be less. Empty: not to be seen."""
    try:
        path = f"users/{q(str(claims.get('sub')))}/role-mappings/clients/{realm.client(MANAGEMENT)}/composite"
        return {str(role.get("name")) for role in realm.rows(path)}
    except (Missing, Refused):
        return set()


def _sources(realm: Realm, claims: Mapping[str, Any]) -> list[_Source]:
    """The roles of the service account and of its groups; empty where they can't be seen."""
    me = q(str(claims.get("sub")))
    try:
        management = realm.client(MANAGEMENT)
        found = list(_mapped(realm, f"users/{me}", "", management))
        for group in realm.rows(f"users/{me}/groups"):
            for at in _upwards(realm, group):  # a group inherits the roles of those that it is in
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


def _mapped(realm: Realm, whose: str, group: str, management: str) -> Iterator[_Source]:
    answer = realm.call("GET", f"{whose}/role-mappings")
    of_clients = [role for one in answer.get("clientMappings", {}).values() for role in one["mappings"]]
    for role in [*answer.get("realmMappings", []), *of_clients]:
        yield _Source(role["name"], group, frozenset(_brings(realm, role, management)))


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
    """What our own token says, which came straight from Keycloak."""
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
