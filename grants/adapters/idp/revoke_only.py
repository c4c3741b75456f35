"""A provider that takes and reads roles but gives none, while a restored database does not say which are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from grants.adapters.errors import Withheld
from grants.adapters.idp.base import DirectoryPerson, Finding, Holders, RoleProvider


class RevokeOnly:
    """Raises Withheld instead of giving a role; for `prepare`, too, because Stint may have given what is held now."""

    def __init__(self, provider: RoleProvider, why: str) -> None:
        self._provider, self._why = provider, why

    def people(self) -> list[DirectoryPerson]:
        return self._provider.people()

    def roles_of(self, external_id: str) -> dict[str, str]:
        return self._provider.roles_of(external_id)

    def holders(self, role: str) -> Holders | None:
        return self._provider.holders(role)

    def prepare(self, role: str) -> NoReturn:  # noqa: ARG002 (the Protocol's)
        raise Withheld(self._why)

    def grant_role(self, external_id: str, role: str, key: str = "") -> NoReturn:  # noqa: ARG002 (the Protocol's)
        raise Withheld(self._why)

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:
        self._provider.revoke_role(external_id, role, key)

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> NoReturn:  # noqa: ARG002 (the Protocol's)
        raise Withheld(self._why)

    def revoke_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        self._provider.revoke_roles(external_id, keys)

    def inspect(self, role: str) -> Finding:
        return self._provider.inspect(role)

    def doctor(self) -> list[Finding]:
        return self._provider.doctor()

    def close(self) -> None:
        self._provider.close()
