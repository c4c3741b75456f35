"""The calls that Stint makes to any identity provider besides sign-in: read people, give and take roles.

A role is named by one string, the same on the grant, in the policy and here:
    prefect-prod:pool:etl:run     a client role of Stint's own client, made at its first grant
    realm/data-engineer           an existing role of the whole realm
    client/airflow/Op             an existing role of another client
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

_MAPPED = ("realm/", "client/")


def is_mapped(role: str) -> bool:
    """Is this an existing role of the provider, as opposed to one that Stint makes?"""
    return role.startswith(_MAPPED)


class DirectoryPerson(NamedTuple):
    """A person exactly as the provider writes them; accounts checks these values as it checks those of a sign-in."""

    external_id: str  # the `sub` of their tokens; never changes
    username: str
    name: str
    email: str
    enabled: bool
    groups: tuple[str, ...]  # as in the claims of their tokens; at Keycloak full paths, "/parent/child"


class Capabilities(NamedTuple):
    """What a kind of provider can do; kinds.KINDS has the capabilities of each kind."""

    directory: bool = False
    roles: bool = False
    group_paths: bool = False  # groups are written as full paths, "/parent/child"
    absent_claim_is_empty: bool = False  # the provider never sends an empty list: a missing claim means no groups


class Holders(NamedTuple):
    """The external ids of all people to whom a role is given directly, and the role's key."""

    key: str
    people: frozenset[str]


class Finding(NamedTuple):
    """One result of the doctor: right, or wrong with a sentence that says how to fix it."""

    ok: bool
    what: str
    fix: str = ""


class Directory(Protocol):
    def people(self) -> list[DirectoryPerson]:
        """Return all people. Raises Unavailable, Missing or Refused instead of returning a part of them."""
        ...

    def close(self) -> None: ...


class RoleProvider(Directory, Protocol):
    """A provider whose roles Stint gives and takes. Safe to use from several threads at once.

    Every call ends within CALL_SECONDS, with a result or one of the three errors. Giving and taking are idempotent.
    Their success proves nothing: the caller reads the roles back.
    """

    def roles_of(self, external_id: str) -> dict[str, str]:
        """Return the roles given to this person directly, as name to key; read now, not from a cache.

        Names can change at the provider, keys cannot. A provider without keys has "" for each. Raises Missing when
        the provider no longer knows the person.
        """
        ...

    def holders(self, role: str) -> Holders | None:
        """Return everybody who holds this role, read at one moment now; None when the list may be incomplete.

        The provider may show Stint only some people, so a person who is not in the list may still hold the role: the
        caller then checks that person with roles_of. Raises as roles_of does.
        """
        ...

    def prepare(self, role: str) -> str:
        """Return the key of a role that is about to be given; make the role first if it is one of Stint's own.

        Raises Missing when a mapped role does not exist; Refused when the role contains rights over the provider
        itself, when its parts are hidden from Stint, or when Stint lacks a right; Unavailable.
        """
        ...

    def grant_role(self, external_id: str, role: str, key: str = "") -> str:
        """Give the role of this name and return its key.

        When the role's key is not `key`, the name now belongs to another role: then nothing is given, and the role
        with `key` is taken if the person holds it under another name. Without a `key`, any role of this name is
        right. Raises as prepare does; Missing also for a person who does not exist.
        """
        ...

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:
        """Take the role with this key, whatever its name is now. A role that is gone or not held is no error.

        Without a key, or when no role of this name has it, take the role of this name. Raises as prepare does.
        """
        ...

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """Give all of these, each only as the role that has its name and its key now, in as few calls as can be.

        Raises as grant_role does; then some may be given and some not, and each is to be given by itself.
        """
        ...

    def revoke_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """Take all of these, each by its name and its key, in as few calls as can be. Raises as grant_roles does."""
        ...

    def inspect(self, role: str) -> Finding:
        """Check that this mapped role exists and is safe to give. Raises Unavailable or Refused."""
        ...

    def doctor(self) -> list[Finding]:
        """Check the rights of Stint's own account; each wrong one comes with its fix. Raises Unavailable or Refused."""
        ...


CALL_SECONDS = 10.0  # the most that one call of these, but for people() and doctor(), takes
