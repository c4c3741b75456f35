"""One step of one binding at its provider, read back.

A step is a generator: it yields whenever it has to know what the person holds, and is sent that. So whoever runs it
says how it is read, for one person or for all who have the role, and what follows from it is written once.
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
    """What somebody holds: roles, with their keys; or, where that was asked for, what is said of one of them."""

    roles: Mapping[str, str]
    missing: str = ""  # why the provider says that it has nobody of this id

    def there(self) -> Mapping[str, str]:
        """Raises Missing when nobody is there."""
        if self.missing:
            raise Missing(self.missing)
        return self.roles


type Doing = Generator[None, Held, Done]


class Unproved(Unavailable):
    """It answered, and what is there is not what it said: this binding's trouble, not a provider that is away."""


def read(idp: RoleProvider, external_id: str) -> Held:
    """Everything that this person holds."""
    try:
        return Held(idp.roles_of(external_id))
    except Missing as error:
        return Held({}, missing=error.reason)


def act(idp: RoleProvider, lease: Lease) -> Done:
    """One step, read for this person alone. Raises AdapterError; a lying answer is one, too."""
    doing = begin(idp, lease)
    try:
        next(doing)
        while True:
            doing.send(read(idp, lease.external_id))
    except StopIteration as done:
        result: Done = done.value
        return result


def may_be_together(lease: Lease) -> bool:
    """Its call may be made together with others of the same person: what is meant has a key, and is not theirs.

    One that failed before is called alone: the joint call may be what failed, for it takes longer.
    """
    known = lease.role_key != "" and not lease.found_before
    return lease.next in {Step.GIVE, Step.TAKE} and known and not lease.again


def together(idp: RoleProvider, leases: Sequence[Lease]) -> None:
    """The calls of several roles of one person, all to be given or all to be taken, as one. Raises as the IdP does."""
    keys = {lease.role: lease.role_key for lease in leases}
    change = idp.grant_roles if leases[0].next is Step.GIVE else idp.revoke_roles
    change(leases[0].external_id, keys)


def begin(idp: RoleProvider, lease: Lease, *, called: bool = False) -> Doing:
    """The step that this lease needs; `called`: its call was made, together with others."""
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
    """Its key is committed with the intent: whatever becomes of this process, it can be taken under any name.

    Where nothing is given, nothing is judged: what somebody holds may have been given by Stint after a backup.
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
    """Theirs is never given by us: if it is gone meanwhile, the next one is ours, and is taken."""
    held = (yield).there()
    return lease, Result.FOUND if lease.role in held else Result.LOST


def _take(idp: RoleProvider, lease: Lease, result: Result) -> Doing:
    idp.revoke_role(lease.external_id, lease.role, lease.role_key)
    return _taken(lease, (yield).roles, result)  # somebody whom the provider no longer knows has no role left


def _taken(lease: Lease, held: Mapping[str, str], result: Result) -> Done:
    if not _still(held, lease):
        return lease, result
    if lease.role_key not in held.values():  # what has the name is another one
        return lease._replace(role_key=held[lease.role]), Result.RETRY_WITH_NEW_KEY
    raise Unproved("The provider says that it took the role back, but still shows it.")


def _read_back(lease: Lease) -> Doing:
    """What was given or taken together with others is read back like any other."""
    held = yield
    if lease.next is Step.GIVE:
        return _given(lease, held.there())
    return _taken(lease, held.roles, Result.TAKEN)


def _recheck(idp: RoleProvider, lease: Lease) -> Doing:
    if _still((yield).roles, lease):
        return (yield from _take(idp, lease, Result.LINGERED))
    return lease._replace(role_key=""), Result.CLEAR


def _still(held: Mapping[str, str], lease: Lease) -> bool:
    """Under whatever name."""
    return lease.role in held or (lease.role_key != "" and lease.role_key in held.values())
