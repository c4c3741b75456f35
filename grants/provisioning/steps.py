"""One step of one binding at its provider, read back."""

from __future__ import annotations

from grants.adapters.errors import Missing, Unavailable
from grants.adapters.idp.base import IdP
from grants.provisioning.claims import Claim, Result
from grants.provisioning.plan import Step

type Done = tuple[Claim, Result | bool]  # a result, or what a look saw


class Unproved(Unavailable):
    """It answered, and what is there is not what it said: this binding's trouble, not a provider that is away."""


def act(idp: IdP, claim: Claim) -> Done:
    """One step at the provider, read back. Raises AdapterError; a lying answer is one, too."""
    match claim.next:
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
            return _theirs(idp, claim)
    raise AssertionError(claim.next)


def _look(idp: IdP, claim: Claim) -> Done:
    """Its key is committed with the intent: whatever becomes of this process, it can be taken under any name."""
    held = idp.roles_of(claim.external_id)
    if claim.role in held:
        return claim, True
    key = idp.prepare(claim.role)
    if key and key in held.values():
        raise Unproved("The provider gave the role another name just now; looking again.")
    return claim._replace(role_key=key), False


def _give(idp: IdP, claim: Claim) -> Done:
    if claim.found_before:
        return _theirs(idp, claim)
    key = idp.grant_role(claim.external_id, claim.role, claim.role_key)
    held = idp.roles_of(claim.external_id)
    if claim.role_key and key != claim.role_key:
        if claim.role_key in held.values():
            raise Unproved("What was given has another name at the provider now, and is still held.")
        return claim._replace(role_key=key), Result.ANEW
    if claim.role not in held:
        raise Unproved("The provider took the role, but does not show it.")
    return claim._replace(role_key=key), Result.GIVEN


def _check(idp: IdP, claim: Claim) -> Done:
    held = idp.roles_of(claim.external_id)
    if claim.role not in held:
        return _give(idp, claim)
    if claim.found_before:
        return claim, Result.STANDS
    return claim._replace(role_key=claim.role_key or held[claim.role]), Result.STANDS


def _theirs(idp: IdP, claim: Claim) -> Done:
    """Theirs is never given by us: if it is gone meanwhile, the next one is ours, and is taken."""
    return claim, Result.FOUND if claim.role in idp.roles_of(claim.external_id) else Result.LOST


def _take(idp: IdP, claim: Claim, result: Result) -> Done:
    idp.revoke_role(claim.external_id, claim.role, claim.role_key)
    held = _held(idp, claim)
    if not _still(held, claim):
        return claim, result
    if claim.role_key not in held.values():  # what has the name is another one
        return claim._replace(role_key=held[claim.role]), Result.ANEW
    raise Unproved("The provider says that it took the role back, but still shows it.")


def _recheck(idp: IdP, claim: Claim) -> Done:
    if _still(_held(idp, claim), claim):
        return _take(idp, claim, Result.LINGERED)
    return claim._replace(role_key=""), Result.CLEAR


def _held(idp: IdP, claim: Claim) -> dict[str, str]:
    """Somebody whom the provider no longer knows has no role left."""
    try:
        return idp.roles_of(claim.external_id)
    except Missing:
        return {}


def _still(held: dict[str, str], claim: Claim) -> bool:
    """Under whatever name."""
    return claim.role in held or (claim.role_key != "" and claim.role_key in held.values())
