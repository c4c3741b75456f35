"""A provider in memory, for speed and for faults: base.RoleProvider's promises, and whatever a test wants to happen at a call."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress

from grants.adapters.errors import Missing
from grants.adapters.idp.base import DirectoryPerson, Finding, Holders


class FakeIdP:
    def __init__(self) -> None:
        self.roles: dict[str, set[str]] = defaultdict(set)
        self.gone: set[str] = set()
        self.calls: list[tuple[str, str, str]] = []
        self.together: list[tuple[str, str, tuple[str, ...]]] = []  # which roles of whom were asked for in one call
        self.keys: list[str] = []  # that grant_role and revoke_role were called with
        # Called before a call takes effect, with (verb, person, role); may raise, or do something else first.
        self.before: Callable[[str, str, str], None] = lambda *_: None
        self.after: Callable[[str, str, str], None] = lambda *_: None
        self._lock = threading.Lock()

    def _do(self, verb: str, person: str, role: str, effect: Callable[[set[str]], None]) -> None:
        self.calls.append((verb, person, role))
        self.before(verb, person, role)
        with self._lock:
            if person in self.gone:
                raise Missing("The provider has nobody of this id.")
            effect(self.roles[person])
        self.after(verb, person, role)

    def roles_of(self, external_id: str) -> dict[str, str]:
        held: set[str] = set()
        self._do("read", external_id, "", held.update)
        return {role: f"key of {role}" for role in held}

    def holders(self, role: str) -> Holders | None:
        found: set[str] = set()
        self._do("list", "", role, lambda _: found.update(who for who, its in self.roles.items() if role in its))
        return Holders(f"key of {role}", frozenset(found - self.gone))

    def prepare(self, role: str) -> str:
        return f"key of {role}"

    def grant_role(self, external_id: str, role: str, key: str = "") -> str:
        self.keys.append(key)
        self._do("grant", external_id, role, lambda roles: roles.add(role))
        return f"key of {role}"

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:
        self.keys.append(key)
        with suppress(Missing):
            self._do("revoke", external_id, role, lambda roles: roles.discard(role))

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        self.together.append(("grant", external_id, tuple(keys)))
        for role, key in keys.items():
            self.grant_role(external_id, role, key)

    def revoke_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        self.together.append(("revoke", external_id, tuple(keys)))
        for role, key in keys.items():
            self.revoke_role(external_id, role, key)

    def people(self) -> list[DirectoryPerson]:
        return []

    def inspect(self, role: str) -> Finding:
        return Finding(ok=True, what=role)

    def doctor(self) -> list[Finding]:
        return []

    def close(self) -> None:
        pass

    def done(self, verb: str) -> int:
        return sum(call[0] == verb for call in self.calls)
