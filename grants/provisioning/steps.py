"""Take one step of one binding at its provider, and read it back.

A step is a generator: it yields whenever it has to know what the person holds, and is sent that. So its caller decides
how this is read, for one person or for all who have the role, and what follows from it is written once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from grants.adapters.errors import Missing, Unavailable
from grants.adapters.idp.base import RoleProvider
from grants.adapters.idp.revoke_only import RevokeOnly
from grants.provisioning.leases import Lease, Result
from grants.provisioning.plan import Step

type Done = tuple[Lease, Result | bool]  # a result, or what a look saw


class Held(NamedTuple):
    """The roles that a person holds, with their ids at the provider; or what a list says of one of them."""

    roles: Mapping[str, str]
    missing: str = ""  # why the provider says that it has nobody of this id

    def there(self) -> Mapping[str, str]:
        """Return the roles. Raises Missing when the provider has no such person."""
        if self.missing:
            raise Missing(self.missing)
        return self.roles


type Doing = Generator[None, Held, Done]


class Unproved(Unavailable):
    """The provider does not show what it said it did. This concerns the binding: the provider is not away."""


def read(idp: RoleProvider, external_id: str) -> Held:
    """Read every role that this person holds."""
    try:
        return Held(idp.roles_of(external_id))
    except Missing as error:
        return Held({}, missing=error.reason)


def act(idp: RoleProvider, lease: Lease) -> Done:
    """Take one step, and read it back for this person alone. Raises AdapterError, also for an untrue answer."""
    doing = begin(idp, lease)
    try:
        next(doing)
        while True:
            doing.send(read(idp, lease.external_id))
    except StopIteration as done:
        result: Done = done.value
        return result


def may_be_together(lease: Lease) -> bool:
    """May its call be joined with others of the same person? Only if the role's id is known and Stint gives the role.

    One that failed before is called alone: the joint call takes longer, and may be what failed.
    """
    known = lease.role_key != "" and not lease.found_before
    return lease.next in {Step.GIVE, Step.TAKE} and known and not lease.again


def together(idp: RoleProvider, leases: Sequence[Lease]) -> None:
    """Give, or take, several roles of one person in one call. Raises what the provider's adapter raises."""
    keys = {lease.role: lease.role_key for lease in leases}
    change = idp.grant_roles if leases[0].next is Step.GIVE else idp.revoke_roles
    change(leases[0].external_id, keys)


def begin(idp: RoleProvider, lease: Lease, *, called: bool = False) -> Doing:
    """Begin the step that this lease needs; `called`: its call was made, joined with others."""
    match lease.next:
        case Step.GIVE | Step.TAKE if called:
            return _read_back(lease)
        case Step.LOOK:
            return _look(idp, lease)
        case Step.GIVE:
            return _give(idp, lease)
        case Step.CHECK:
            return _check(idp, lease)
        case Step.TAKE:
            return _take(idp, lease, Result.TAKEN)
        case Step.RECHECK:
            return _recheck(idp, lease)
        case Step.SEE:
            return _theirs(lease)
    raise AssertionError(lease.next)


def _look(idp: RoleProvider, lease: Lease) -> Doing:
    """See whether the role is there before Stint gives it.

    The role's id is committed with the intent: if this process dies, the role can still be taken under any name.
    An adapter that gives no roles judges nothing: what a person holds may have been given by Stint after a backup.
    """
    if isinstance(idp, RevokeOnly):
        idp.prepare(lease.role)
    held = (yield).there()
    if lease.role in held:
        return lease, True
    key = idp.prepare(lease.role)
    if key and key in held.values():
        raise Unproved("The provider gave the role another name just now; looking again.")
    return lease._replace(role_key=key), False


def _give(idp: RoleProvider, lease: Lease) -> Doing:
    if lease.found_before:
        return (yield from _theirs(lease))
    key = idp.grant_role(lease.external_id, lease.role, lease.role_key)
    held = (yield).there()
    if lease.role_key and key != lease.role_key:
        if lease.role_key in held.values():
            raise Unproved("What was given has another name at the provider now, and is still held.")
        return lease._replace(role_key=key), Result.RETRY_WITH_NEW_KEY
    return _given(lease._replace(role_key=key), held)


def _given(lease: Lease, held: Mapping[str, str]) -> Done:
    if lease.role not in held:
        raise Unproved("The provider took the role, but does not show it.")
    return lease, Result.GIVEN


def _check(idp: RoleProvider, lease: Lease) -> Doing:
    held = (yield).there()
    if lease.role not in held:
        return (yield from _give(idp, lease))
    if lease.found_before:
        return lease, Result.STANDS
    return lease._replace(role_key=lease.role_key or held[lease.role]), Result.STANDS


def _theirs(lease: Lease) -> Doing:
    """A role of before Stint is never given by Stint: if it is gone, the next one is Stint's, and is taken."""
    held = (yield).there()
    return lease, Result.FOUND if lease.role in held else Result.LOST


def _take(idp: RoleProvider, lease: Lease, result: Result) -> Doing:
    idp.revoke_role(lease.external_id, lease.role, lease.role_key)
    return _taken(lease, (yield).roles, result)  # somebody whom the provider no longer knows has no role left


def _taken(lease: Lease, held: Mapping[str, str], result: Result) -> Done:
    if not _still(held, lease):
        return lease, result
    if lease.role_key not in held.values():  # another role has the name now
        return lease._replace(role_key=held[lease.role]), Result.RETRY_WITH_NEW_KEY
    raise Unproved("The provider says that it took the role back, but still shows it.")


def _read_back(lease: Lease) -> Doing:
    """Read back a step whose call was joined with others."""
    held = yield
    if lease.next is Step.GIVE:
        return _given(lease, held.there())
    return _taken(lease, held.roles, Result.TAKEN)


def _recheck(idp: RoleProvider, lease: Lease) -> Doing:
    if _still((yield).roles, lease):
        return (yield from _take(idp, lease, Result.LINGERED))
    return lease._replace(role_key=""), Result.CLEAR


def _still(held: Mapping[str, str], lease: Lease) -> bool:
    """Does the person still hold it, under whatever name?"""
    return lease.role in held or (lease.role_key != "" and lease.role_key in held.values())
