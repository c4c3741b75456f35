"""The Keycloak realm of the demo and the tests: two clients, the claims they need, and a few people.

docs/operations.md says how to set up the same clients in Keycloak's console.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Exactly the rights that the adapter uses: give and take roles and read people; read realm roles and their parts; make
# the roles of the client `stint`.
PROVISIONER_ROLES = ("manage-users", "view-realm", "manage-clients")
PASSWORD = "stint-demo"


def realm(
    name: str,
    *,
    portal: str,
    client_secret: str,
    provisioner_secret: str,
    people: Iterable[Mapping[str, Any]],
    provisioner_roles: Sequence[str] = PROVISIONER_ROLES,
) -> dict[str, Any]:
    """Return a realm in the form of Keycloak's admin API. `people` are entries of provider/cast.yaml."""
    people = list(people)
    groups = sorted({group for person in people for group in person["groups"]})
    return {
        "realm": name,
        "enabled": True,
        "sslRequired": "none",
        "passwordPolicy": "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)",
        "groups": [{"name": group} for group in groups],
        "clients": [_portal_client(portal, client_secret), _provisioner(provisioner_secret)],
        "users": [
            *map(_person, people),
            {
                "username": "service-account-stint-provisioner",
                "enabled": True,
                "serviceAccountClientId": "stint-provisioner",
                "clientRoles": {"realm-management": list(provisioner_roles)},
            },
        ],
    }


def _person(person: Mapping[str, Any]) -> dict[str, Any]:
    first, _, last = person["name"].partition(" ")
    return {
        "username": person["username"],
        "email": person["email"],
        "emailVerified": True,
        "firstName": first,
        "lastName": last or first,
        "enabled": person.get("enabled", True),
        "requiredActions": [],
        "groups": [f"/{group}" for group in person["groups"]],
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


def _portal_client(portal: str, secret: str) -> dict[str, Any]:
    everywhere = {f"{token}.claim": "true" for token in ("id.token", "access.token", "userinfo.token")}
    return {
        "clientId": "stint",
        "enabled": True,
        "publicClient": False,
        "secret": secret,
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False,
        "fullScopeAllowed": False,
        "redirectUris": [f"{portal}/oidc/callback"],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": f"{portal}/##{portal}/*",
        },
        "protocolMappers": [
            {
                "name": "groups",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-group-membership-mapper",
                "config": {**everywhere, "claim.name": "groups", "full.path": "true"},
            },
            {
                "name": "roles of stint",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-usermodel-client-role-mapper",
                "config": {
                    **everywhere,
                    "claim.name": "roles",
                    "multivalued": "true",
                    "jsonType.label": "String",
                    "usermodel.clientRoleMapping.clientId": "stint",
                },
            },
        ],
    }


def _provisioner(secret: str) -> dict[str, Any]:
    return {
        "clientId": "stint-provisioner",
        "enabled": True,
        "publicClient": False,
        "secret": secret,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": True,
        "fullScopeAllowed": True,
        "protocolMappers": [],
    }
