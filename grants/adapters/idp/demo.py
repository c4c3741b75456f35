"""The directory of Stint's demo provider (portal/demo): GET /admin/users, with a secret."""

from __future__ import annotations

from typing import Any

import httpx

from grants.adapters.errors import Unavailable
from grants.adapters.http import Http, bearer
from grants.adapters.idp.base import DirectoryPerson
from grants.adapters.text import clean

_MOST_PAGES = 200


class Demo:
    """The Directory of the demo provider."""

    def __init__(self, url: str, *, secret: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = Http(url, who="The demo identity provider", headers=bearer(secret), transport=transport)

    def close(self) -> None:
        self._http.close()

    def people(self) -> list[DirectoryPerson]:
        """Everybody, completely. Raises Unavailable, Missing or Refused."""
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
        """Where the next page starts; None after the last. A page that does not say so is no page."""
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
            } if external_id == clean(external_id, 255) != "" and all(isinstance(group, str) for group in groups):
                return DirectoryPerson(
                    external_id=external_id,
                    username=clean(username, 200),
                    name=clean(name, 200),
                    email=clean(email, 254),
                    enabled=enabled,
                    groups=tuple(sorted({clean(group, 200) for group in groups})),
                )
        raise self._unreadable()

    def _unreadable(self) -> Unavailable:
        return Unavailable(f"{self._http.who} sent a list of people that Stint cannot read.")
