"""The adapter of Keycloak's Admin REST API: people, groups, and the roles that Stint gives and takes.

Each call was tried on 26.7.3 and 26.4.7. Calls send both the id and the name of a role. A DELETE always names the one
role that it takes: without a body, Keycloak would take all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import httpx

from grants.adapters.errors import Missing, Refused, Unavailable
from grants.adapters.idp import keycloak_doctor
from grants.adapters.idp.base import DirectoryPerson, Finding, Holders, is_mapped
from grants.adapters.idp.keycloak_realm import MANAGEMENT, WHO, Realm, q, unreadable

_DEEPEST = 200  # roles that a composite role may contain, at any depth; one with more is refused
_ROLE_SECONDS = 1.0  # for which a role's row is reused, as many people are given one role at once
_MOST_HOLDERS = 30_000  # in one answer; read in pages, a list could miss people
_NESTED = 20  # depth of groups within groups


class _Role(NamedTuple):
    id: str
    name: str
    composite: bool
    mappings: str  # below users/{id}/role-mappings/

    @property
    def body(self) -> list[dict[str, str]]:
        return [{"id": self.id, "name": self.name}]

    @property
    def key(self) -> str:
        """The key of base.RoleProvider.roles_of: where the role is mapped, and its id."""
        return f"{self.mappings}/{self.id}"


class KeycloakAdapter:
    """The RoleProvider of one realm of a Keycloak.

    `client_id` and `secret` belong to a service account in that realm; `role_client` is the client whose roles Stint
    makes.
    """

    def __init__(
        self,
        url: str,
        realm: str,
        *,
        client_id: str,
        secret: str,
        role_client: str = "stint",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if realm == "master":  # composite roles there administer all realms, through clients of any name
            raise Refused(f"{WHO}'s realm master administers all others, so Stint gives no roles in it.")
        self.role_client = role_client
        self._rows: dict[str, tuple[_Role, float]] = {}  # of roles without parts, and until when each is reused
        self._realm = Realm(url, realm, client_id=client_id, secret=secret, transport=transport)

    def close(self) -> None:
        self._realm.close()

    # Roles.

    def roles_of(self, external_id: str) -> dict[str, str]:
        """See base.RoleProvider."""
        with self._realm.within():
            try:
                answer = self._realm.call("GET", f"users/{q(external_id)}/role-mappings")
            except Missing as error:
                self._here()
                raise Missing(f"{WHO} does not know this person any more.", error.code) from None
        try:
            held = {f"realm/{role['name']}": f"realm/{role['id']}" for role in answer.get("realmMappings", [])}
            for client, mapped in answer.get("clientMappings", {}).items():
                own, at = client == self.role_client, f"clients/{mapped['id']}"
                for role in mapped["mappings"]:
                    if not own and "/" in client:  # such a name would be read as a role of the client before the slash
                        continue
                    if not own:
                        held[f"client/{client}/{role['name']}"] = f"{at}/{role['id']}"
                    elif not is_mapped(role["name"]):  # else it would be taken for a role of another client
                        held[role["name"]] = f"{at}/{role['id']}"
        except (AttributeError, KeyError, TypeError):
            raise unreadable() from None
        return held

    def holders(self, role: str) -> Holders | None:
        """See base.RoleProvider. Returns None with fine-grained permissions, because then lists leave people out.

        Keycloak lists holders by the role's name, so the name must belong to the same role before and after.
        """
        if self._is_alias(role):
            return None
        with self._realm.within():
            if not self._realm.shows_all():
                return None
            found = self._there(role)
            if found is None:
                return None
            client, name = self._place(role)
            base = "roles" if client is None else f"{found.mappings}/roles"
            rows = self._realm.rows(f"{base}/{q(name)}/users", first=0, max=_MOST_HOLDERS, briefRepresentation="true")
            now = self._there(role)
        if now is None or now.key != found.key or len(rows) >= _MOST_HOLDERS:
            return None
        return Holders(found.key, frozenset(row["id"] for row in rows))

    def prepare(self, role: str) -> str:
        """See base.RoleProvider."""
        with self._realm.within():
            return self._givable(role).key

    def grant_role(self, external_id: str, role: str, key: str = "") -> str:
        """See base.RoleProvider."""
        with self._realm.within():
            try:
                return self._give(external_id, role, key)
            except Missing:
                if self._rows.pop(role, None) is None:
                    raise
            # The kept row may be that of a role which was deleted and made again: read it and try once more.
            return self._give(external_id, role, key)

    def revoke_role(self, external_id: str, role: str, key: str = "") -> None:
        """See base.RoleProvider."""
        if not key and self._is_alias(role):
            return  # an alias is never given
        with self._realm.within():
            given = self._keyed(role, key) if key else self._there(role)
            if given is None:
                return  # the role is gone, so nobody holds it
            try:
                self._map("DELETE", external_id, given)
            except Missing:
                now = self._there(role)
                if now is not None and now.id == given.id:
                    return  # the person is gone and holds nothing
                # The role was renamed, or another one was made under its name, or both.
                if key and (renamed := self._renamed(given)):
                    self._drop(external_id, renamed)
                if now is not None and self._holds(external_id, now):
                    self._drop(external_id, now)

    def grant_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """See base.RoleProvider. One call for those of one client: Keycloak gives them all, or none."""
        with self._realm.within():
            found = [self._givable(role) for role in keys]
            if [role.key for role in found] != list(keys.values()):
                raise Refused(f"A role has another name at {WHO} now.")
            self._map_all("POST", external_id, found)

    def revoke_roles(self, external_id: str, keys: Mapping[str, str]) -> None:
        """See base.RoleProvider. One call for those of one client: Keycloak takes them all, or none."""
        with self._realm.within():
            self._map_all("DELETE", external_id, [self._keyed(role, key) for role, key in keys.items()])

    def inspect(self, role: str) -> Finding:
        """See base.RoleProvider."""
        with self._realm.within():
            try:
                self._refuse_by_name(role)
                found = self._found(role)
                if found is None:
                    own = not is_mapped(role)
                    return Finding(own, f"Role {role} is not there yet.", "" if own else "Make it, or map another.")
                self._refuse_by_parts(role, found)
            except Missing as error:
                return Finding(ok=False, what=error.reason, fix=f"Make the client, or map another role than {role}.")
            except Refused as error:
                return Finding(ok=False, what=error.reason, fix="Map a role that Stint can give, or none.")
            return Finding(ok=True, what=f"Role {role} is there.")

    def doctor(self) -> list[Finding]:
        """See base.RoleProvider."""
        try:
            return list(keycloak_doctor.examine(self._realm, self.role_client))
        except (AttributeError, KeyError, TypeError):
            raise unreadable() from None

    def _give(self, external_id: str, role: str, key: str) -> str:
        found = self._givable(role)
        if key in {"", found.key}:
            self._map("POST", external_id, found)
        elif renamed := self._renamed(self._keyed(role, key)):
            self._drop(external_id, renamed)
        return found.key

    def _here(self) -> None:
        """Raise Unavailable when the realm itself is "not found", as a proxy says whose Keycloak is down."""
        try:
            self._realm.client(self.role_client, fresh=True)
        except Missing:
            raise Unavailable(f"{WHO} finds nobody, nor Stint's own client: is it there?", 404) from None

    def _map(self, method: str, external_id: str, role: _Role) -> None:
        """Give or take one role. After 400, 409 or 500, which a race with an equal call can cause, read the result."""
        try:
            self._realm.call(method, f"users/{q(external_id)}/role-mappings/{role.mappings}", json=role.body)
        except (Refused, Unavailable) as error:
            if error.code not in {400, 409, 500}:
                raise
            if self._holds(external_id, role) != (method == "POST"):
                raise

    def _map_all(self, method: str, external_id: str, roles: Iterable[_Role]) -> None:
        """Give or take these, a call for each place where they are mapped."""
        places: dict[str, list[dict[str, str]]] = {}
        for role in roles:
            places.setdefault(role.mappings, []).extend(role.body)
        for mappings, body in places.items():
            self._realm.call(method, f"users/{q(external_id)}/role-mappings/{mappings}", json=body)

    def _holds(self, external_id: str, role: _Role) -> bool:
        """Does the person hold this role? Compared by its id, because its name may have changed."""
        try:
            rows = self._realm.rows(f"users/{q(external_id)}/role-mappings/{role.mappings}")
        except Missing:
            return False
        return any(row["id"] == role.id for row in rows)

    def _drop(self, external_id: str, role: _Role) -> None:
        """Take the role if it is held. A missing person or role is no error here: the caller reads the roles back."""
        with suppress(Missing):
            self._map("DELETE", external_id, role)

    def _givable(self, role: str) -> _Role:
        """Return the role after checking that it exists and is safe to give. Raises as prepare() does."""
        self._refuse_by_name(role)
        found, until = self._rows.get(role, (None, 0.0))
        if found is not None and time.monotonic() < until:
            return found
        found = self._found(role) or self._made(role)
        self._refuse_by_parts(role, found)
        if not found.composite:  # what a composite role contains can change while its own row does not
            self._rows[role] = found, time.monotonic() + _ROLE_SECONDS
        return found

    def _keyed(self, role: str, key: str) -> _Role:
        """The role with this key, as if it still had this name."""
        mappings, _, pk = key.rpartition("/")
        return _Role(pk, self._place(role)[1], False, mappings)

    def _there(self, role: str) -> _Role | None:
        """The role as it is now; None when it or its client is gone."""
        try:
            return self._found(role)
        except Missing:
            return None

    def _found(self, role: str) -> _Role | None:
        """The role as it is now, or None. Raises Missing when its client does not exist."""
        client, name = self._place(role)
        if client is None:
            return self._read("roles", name, "realm")
        uuid = self._realm.client(client)
        found = self._read(f"clients/{uuid}/roles", name, f"clients/{uuid}")
        if found is None and (now := self._realm.client(client, fresh=True)) != uuid:  # the client was made anew
            found = self._read(f"clients/{now}/roles", name, f"clients/{now}")
        return found

    def _place(self, role: str) -> tuple[str | None, str]:
        """The client that the role belongs to (None for the realm), and the role's name there."""
        kind, _, rest = role.partition("/")
        if kind == "realm" and rest:
            return None, rest
        client, _, name = rest.partition("/") if kind == "client" and rest else (self.role_client, "", role)
        return client, name

    def _renamed(self, role: _Role) -> _Role | None:
        """The same role under its present name; None when it is gone."""
        try:
            answer = self._realm.call("GET", f"roles-by-id/{q(role.id)}")
        except Missing:
            return None
        match answer:
            case {"name": str(name)}:
                return role._replace(name=name)
        raise unreadable()

    def _read(self, base: str, name: str, mappings: str) -> _Role | None:
        try:
            answer = self._realm.call("GET", f"{base}/{q(name)}")
        except Missing:
            return None
        match answer:
            case {"id": str(pk), "name": str(called), "composite": bool(composite)} if called == name:
                return _Role(pk, called, composite, mappings)
        raise unreadable()

    def _made(self, role: str) -> _Role:
        """Make one of Stint's own roles. Raises Missing for any other role."""
        if is_mapped(role):
            raise Missing(f"{WHO} has no role {role}, and it is not Stint's to make.")
        body = {"name": role, "description": "Given and taken by Stint, for as long as a grant lasts."}
        try:
            self._realm.call("POST", f"clients/{self._realm.client(self.role_client)}/roles", json=body)
        except Refused as error:
            if error.code != 409:  # another call made it first
                raise
        found = self._found(role)
        if found is None:
            raise Unavailable(f"{WHO} took the new role {role}, but does not show it.")
        return found

    def _is_alias(self, role: str) -> bool:
        """Is this another name for a role of Stint's own client? Two names for one role would count as two roles."""
        return role.startswith(f"client/{self.role_client}/")

    def _refuse_by_name(self, role: str) -> None:
        """Raise Refused when the name says that the role administers the realm, is everybody's, or is an alias."""
        kind, _, rest = role.partition("/")
        client = rest.partition("/")[0] if kind == "client" else ""
        if client == MANAGEMENT or client.endswith("-realm") or role in {"realm/admin", "realm/create-realm"}:
            raise Refused(f"Role {role} administers {WHO} itself, so Stint does not give it.")
        if kind == "realm" and rest.startswith("default-roles-"):
            raise Refused(f"Role {role} is everybody's, so Stint neither gives nor takes it.")
        if self._is_alias(role):
            raise Refused(f"Role {role} is of the client whose roles Stint makes itself, so it can't be mapped.")

    def _refuse_by_parts(self, role: str, found: _Role) -> None:
        if not found.composite:
            return
        management = self._visible_management()
        for part in self._parts(role, found):
            if part.get("clientRole") and part.get("containerId") == management:
                raise Refused(f"Role {role} contains {part.get('name')} of {MANAGEMENT}, so Stint does not give it.")

    def _visible_management(self) -> str:
        """The uuid of realm-management. Raises Refused when it is hidden: then composites hide its roles, too."""
        try:
            return self._realm.client(MANAGEMENT, fresh=True)
        except (Missing, Refused) as error:
            raise Refused("The role has parts that Stint can't see, so it does not give it.", error.code) from None

    def _parts(self, role: str, found: _Role) -> Iterator[Mapping[str, Any]]:
        """All roles that a composite role contains, at any depth. Raises Refused when some of them are hidden."""
        seen, left = {found.id}, [found.id]
        while left:
            parts = self._realm.rows(f"roles-by-id/{q(left.pop())}/composites")
            if not parts or len(seen) + len(parts) > _DEEPEST:
                raise Refused(f"Role {role} has parts that Stint can't see, so it does not give it.")
            for part in parts:
                yield part
                if part.get("composite") and part["id"] not in seen:
                    left.append(part["id"])
                seen.add(part["id"])

    # People.

    def people(self) -> list[DirectoryPerson]:
        """See base.Directory. Groups are full paths, as Keycloak's mapper writes them into claims."""
        groups: dict[str, set[str]] = {}
        for group in self._groups("groups"):
            if not isinstance(path := group.get("path"), str):
                raise unreadable()
            for member in self._realm.pages(f"groups/{q(group['id'])}/members", briefRepresentation="true"):
                groups.setdefault(member["id"], set()).add(path)
        people: dict[str, DirectoryPerson] = {}
        for user in self._realm.pages("users", briefRepresentation="true"):
            person = _person(user, groups)
            if people.setdefault(person.external_id, person) is not person:
                raise Unavailable(f"{WHO} listed one person twice: its list changed while it was read.")
        if not people:  # with too few rights Keycloak sends an empty list instead of refusing
            raise Refused(f"{WHO} shows Stint nobody at all; `manage.py idp doctor` says which right is missing.")
        return list(people.values())

    def _groups(self, path: str, depth: int = 0) -> Iterator[Mapping[str, Any]]:
        if depth > _NESTED:
            raise Unavailable(f"{WHO} lists groups within groups without end.")
        for group in self._realm.pages(path, briefRepresentation="true"):
            yield group
            if group.get("subGroupCount", 1):
                yield from self._groups(f"groups/{q(group['id'])}/children", depth + 1)


def _person(user: Mapping[str, Any], groups: Mapping[str, set[str]]) -> DirectoryPerson:
    match user:
        case {"id": str(pk), "username": str(username), "enabled": bool(enabled)} if pk:
            name = " ".join(part for key in ("firstName", "lastName") if isinstance(part := user.get(key), str))
            email = user.get("email")
            return DirectoryPerson(
                external_id=pk,
                username=username,
                name=name or username,
                email=email if isinstance(email, str) else "",
                enabled=enabled,
                groups=tuple(sorted(groups.get(pk, ()))),
            )
    raise unreadable()
