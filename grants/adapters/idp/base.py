"""What Stint asks of any identity provider besides sign-ins: who there is, and the roles it gives and takes.

A role is named by one string, the same on the grant, in the policy and here:
    prefect-prod:pool:etl:run     a client role of Stint's own client, made at its first grant
    realm/data-engineer           an existing role of the whole realm
    client/airflow/Op             an existing role of another client
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

_MAPPED = ("realm/", "client/")


def is_mapped(role: str) -> bool:
    """Is it an existing role of the provider, not one that Stint makes?"""
    return role.startswith(_MAPPED)


class DirectoryPerson(NamedTuple):
    """All as the provider writes it, letter by letter: accounts judges it, as it does what a sign-in says."""

    external_id: str  # the `sub` of their tokens; never changes
    username: str
    name: str
    email: str
    enabled: bool
    groups: tuple[str, ...]  # as in the claims of their tokens; of Keycloak full paths, "/parent/child"


class Capabilities(NamedTuple):
    """What a kind of provider can do; kinds.KINDS says it of each."""

    directory: bool = False
    roles: bool = False
    group_paths: bool = False  # groups are written as full paths, "/parent/child"
    absent_claim_is_empty: bool = False  # it never sends an empty list: a missing claim means none


class Holders(NamedTuple):
    """Everybody to whom a role is given directly, by their external ids, and the key that it has."""

    key: str
    people: frozenset[str]


class Finding(NamedTuple):
    """One thing that the doctor sees: fine, or wrong with the words to put it right."""

    ok: bool
    what: str
    fix: str = ""


class Directory(Protocol):
    def people(self) -> list[DirectoryPerson]:
        """Everybody, completely. Raises Unavailable, Missing or Refused rather than answer with a part."""
        ...

    def close(self) -> None: ...


class IdP(Directory, Protocol):
    """A provider whose roles Stint gives and takes. Safe to use from several threads at once.

    Every call ends within CALL_SECONDS, with one of the three errors if need be; granting and revoking are
    idempotent, and neither's success proves anything: the caller reads back.
    """

    def roles_of(self, external_id: str) -> dict[str, str]:
        """The roles given to this person directly, by the names above, with their keys; read now, from no cache.

        Names change at the provider, keys do not. Where it has no keys, they are empty. Raises Missing when the
        provider no longer knows the person.
        """
        ...

    def holders(self, role: str) -> Holders | None:
        """Who holds this role, all of them read at one moment now; None where that can't be said for certain.

        Somebody who is not among them may still hold it where Stint may see only some people: the caller asks for
        one of them by roles_of. Raises as that does.
        """
        ...

    def prepare(self, role: str) -> str:
        """The key of a role that is about to be given, made first if it is one of Stint's own.

        Raises Missing (it is not there, and not Stint's to make), Refused (it reaches the provider's own
        administration, or can't be seen into; or Stint lacks the right), Unavailable.
        """
        ...

    def grant_role(self, external_id: str, role: str, key: str = "") -> str:
        """Give the role of this name, and say its key.

        Where that is not `key`, it is another role by now: nothing is given, and what has `key` under another name
        is taken. With no `key`, any is right. Raises as prepare does; Missing also for a person who is not there.
        """
        ...

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:
        """Take what has this key, under whatever name; what is gone, or was not held, is no error.

        With no key, or where nothing has it under this name, take the role of this name. Raises as prepare does.
        """
        ...

    def inspect(self, role: str) -> Finding:
        """Is this mapped role there, and safe to give? Raises Unavailable or Refused."""
        ...

    def doctor(self) -> list[Finding]:
        """What Stint's own account there can and can't, each with the fix. Raises Unavailable or Refused."""
        ...


CALL_SECONDS = 10.0  # the most that one call of grant_role, revoke_role or roles_of takes
