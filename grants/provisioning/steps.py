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
from grants.provisioning.claims import Claim, Result
from grants.provisioning.plan import Step

type Done = tuple[Claim, Result | bool]  # a result, or what a look saw


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


def act(idp: RoleProvider, claim: Claim) -> Done:
    """One step, read for this person alone. Raises AdapterError; a lying answer is one, too."""
    doing = begin(idp, claim)
    try:
        next(doing)
        while True:
            doing.send(read(idp, claim.external_id))
    except StopIteration as done:
        result: Done = done.value
        return result


def may_be_together(claim: Claim) -> bool:
    """Its call may be made together with others of the same person: what is meant has a key, and is not theirs.

    One that failed before is called alone: the joint call may be what failed, for it takes longer.
    """
    known = claim.role_key != "" and not claim.found_before
    return claim.next in {Step.GIVE, Step.TAKE} and known and not claim.again


def together(idp: RoleProvider, claims: Sequence[Claim]) -> None:
    """The calls of several roles of one person, all to be given or all to be taken, as one. Raises as the IdP does."""
    keys = {claim.role: claim.role_key for claim in claims}
    change = idp.grant_roles if claims[0].next is Step.GIVE else idp.revoke_roles
    change(claims[0].external_id, keys)


def begin(idp: RoleProvider, claim: Claim, *, called: bool = False) -> Doing:
    """The step that this claim needs; `called`: its call was made, together with others."""
    match claim.next:
        case Step.GIVE | Step.TAKE if called:
            return _read_back(claim)
        case Step.LOOK:
            return _look(idp, claim)
        case Step.GIVE:
            return _give(idp, claim)
        case Step.CHECK:
            return _check(idp, claim)
        case Step.TAKE:
            return _take(idp, claim, Result.TAKEN)
        case Step.RECHECK:
            return _recheck(idp, claim)
        case Step.SEE:
            return _theirs(claim)
    raise AssertionError(claim.next)


def _look(idp: RoleProvider, claim: Claim) -> Doing:
    """Its key is committed with the intent: whatever becomes of this process, it can be taken under any name.

    Where nothing is given, nothing is judged: what somebody holds may have been given by Stint after a backup.
    """
    if isinstance(idp, RevokeOnly):
        idp.prepare(claim.role)
    held = (yield).there()
    if claim.role in held:
        return claim, True
    key = idp.prepare(claim.role)
    if key and key in held.values():
        raise Unproved("The provider gave the role another name just now; looking again.")
    return claim._replace(role_key=key), False


def _give(idp: RoleProvider, claim: Claim) -> Doing:
    if claim.found_before:
        return (yield from _theirs(claim))
    key = idp.grant_role(claim.external_id, claim.role, claim.role_key)
    held = (yield).there()
    if claim.role_key and key != claim.role_key:
        if claim.role_key in held.values():
            raise Unproved("What was given has another name at the provider now, and is still held.")
        return claim._replace(role_key=key), Result.ANEW
    return _given(claim._replace(role_key=key), held)


def _given(claim: Claim, held: Mapping[str, str]) -> Done:
    if claim.role not in held:
        raise Unproved("The provider took the role, but does not show it.")
    return claim, Result.GIVEN


def _check(idp: RoleProvider, claim: Claim) -> Doing:
    held = (yield).there()
    if claim.role not in held:
        return (yield from _give(idp, claim))
    if claim.found_before:
        return claim, Result.STANDS
    return claim._replace(role_key=claim.role_key or held[claim.role]), Result.STANDS


def _theirs(claim: Claim) -> Doing:
    """Theirs is never given by us: if it is gone meanwhile, the next one is ours, and is taken."""
    held = (yield).there()
    return claim, Result.FOUND if claim.role in held else Result.LOST


def _take(idp: RoleProvider, claim: Claim, result: Result) -> Doing:
    idp.revoke_role(claim.external_id, claim.role, claim.role_key)
    return _taken(claim, (yield).roles, result)  # somebody whom the provider no longer knows has no role left


def _taken(claim: Claim, held: Mapping[str, str], result: Result) -> Done:
    if not _still(held, claim):
        return claim, result
    if claim.role_key not in held.values():  # what has the name is another one
        return claim._replace(role_key=held[claim.role]), Result.ANEW
    raise Unproved("The provider says that it took the role back, but still shows it.")


def _read_back(claim: Claim) -> Doing:
    """What was given or taken together with others is read back like any other."""
    held = yield
    if claim.next is Step.GIVE:
        return _given(claim, held.there())
    return _taken(claim, held.roles, Result.TAKEN)


def _recheck(idp: RoleProvider, claim: Claim) -> Doing:
    if _still((yield).roles, claim):
        return (yield from _take(idp, claim, Result.LINGERED))
    return claim._replace(role_key=""), Result.CLEAR


def _still(held: Mapping[str, str], claim: Claim) -> bool:
    """Under whatever name."""
    return claim.role in held or (claim.role_key != "" and claim.role_key in held.values())
