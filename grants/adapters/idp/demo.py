"""The adapter of the demo's provider (portal/demo): it reads people and changes roles by routes that need a secret."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx

from grants.adapters.errors import Missing, Unavailable
from grants.adapters.http import Http, bearer
from grants.adapters.idp.base import CALL_SECONDS, DirectoryPerson, Finding

_MOST_PAGES = 200


class DemoAdapter:
    """The RoleProvider of the demo's provider. A role is a word on a person: it does not have to be made first."""

    def __init__(self, url: str, *, secret: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = Http(
            url,
            who="The demo identity provider",
            headers=bearer(secret),
            transport=transport,
            answer_seconds=CALL_SECONDS,
        )

    def close(self) -> None:
        self._http.close()

    def roles_of(self, external_id: str) -> dict[str, str]:
        """See base.RoleProvider. Roles here have no keys."""
        match self._send("GET", external_id):
            case {"id": str(pk), "roles": [*roles]} if pk == external_id:
                return {str(role): "" for role in roles}
        raise self._unreadable()

    def holders(self, role: str) -> None:
        """See base.RoleProvider. The demo's provider has no such list."""

    def prepare(self, role: str) -> str:  # noqa: ARG002 (nothing to make)
        """See base.RoleProvider."""
        return ""

    def grant_role(self, external_id: str, role: str, key: str = "") -> str:  # noqa: ARG002 (has none)
        """See base.RoleProvider."""
        self._send("PUT", external_id, role)
        return ""

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:  # noqa: ARG002 (has none)
        """See base.RoleProvider."""
        with suppress(Missing):
            self._send("DELETE", external_id, role)

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """See base.RoleProvider. It takes them one by one."""
        for role in keys:
            self.grant_role(external_id, role)

    def revoke_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """See base.RoleProvider. It takes them one by one."""
        for role in keys:
            self.revoke_role(external_id, role)

    def inspect(self, role: str) -> Finding:
        """See base.RoleProvider."""
        return Finding(ok=True, what=f"Role {role} needs nothing at the demo's provider.")

    def doctor(self) -> list[Finding]:
        """See base.RoleProvider."""
        self._http.get("/admin/users", {"offset": 0})
        return [Finding(ok=True, what="The demo's provider takes Stint's secret.")]

    def _send(self, method: str, external_id: str, role: str = "") -> Any:
        path = f"/admin/users/{quote(external_id, safe='')}" + (f"/roles/{quote(role, safe='')}" if role else "")
        return self._http.send(method, path)

    def people(self) -> list[DirectoryPerson]:
        """Return all people. Raises Unavailable, Missing or Refused."""
        people: dict[str, DirectoryPerson] = {}
        offset = 0
        for _ in range(_MOST_PAGES):
            answer = self._http.get("/admin/users", {"offset": offset})
            following = self._next(answer, offset)
            for person in map(self._person, answer["users"]):
                if people.setdefault(person.external_id, person) != person:
                    raise Unavailable(f"{self._http.who} lists one person twice, differently.")
            if following is None:
                return list(people.values())
            offset = following
        raise Unavailable(f"{self._http.who} lists people without end.")

    def _next(self, answer: Any, offset: int) -> int | None:
        """The offset of the next page; None after the last. Raises Unavailable for a page that does not say."""
        if not isinstance(answer, dict) or not isinstance(answer.get("users"), list) or "next" not in answer:
            raise self._unreadable()
        following = answer["next"]
        if following is None:
            return None
        if type(following) is not int or following <= offset:
            raise self._unreadable()
        return following

    def _person(self, row: Any) -> DirectoryPerson:
        match row:
            case {
                "id": str(external_id),
                "username": str(username),
                "name": str(name),
                "email": str(email),
                "enabled": bool(enabled),
                "groups": [*groups],
            } if external_id and all(isinstance(group, str) for group in groups):
                return DirectoryPerson(
                    external_id=external_id,
                    username=username,
                    name=name,
                    email=email,
                    enabled=enabled,
                    groups=tuple(sorted(set(groups))),
                )
        raise self._unreadable()

    def _unreadable(self) -> Unavailable:
        return Unavailable(f"{self._http.who} sent a list of people that Stint cannot read.")
