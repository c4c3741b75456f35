"""The sentences of tokens for a person whose action was refused."""

from __future__ import annotations

from enum import unique

from accounts.errors import Sentence


@unique
class Says(Sentence):
    TOO_MANY = "{live} tokens of {grant} work already. Revoke those that nobody needs."
    NOT_REVOCABLE = "Only the user of this token, an owner of the resource or an admin can revoke it."
    NOT_OF_TEAM = "Only members of the team that owns {name} get its tokens."
    NOT_HELD = "Only the holder of an access gets tokens for it."
    INACTIVE = "{name} is switched off."
    GRANT_OVER = "{grant} is over already."
    NOT_BEGUN = "{grant} has not begun."
    TOO_SHORT = "A token lasts one minute or more."
    OVER = "This token is over already."
    REVOKED = "It was revoked already."
    IS_SESSION = "A browser session ends by signing out."
    NOT_DELIVERED = "Only members of the owning team and admins have tokens delivered to a service identity."
    PEOPLE_ONLY = "Only people with an account that is switched on go through the gate with a browser."
    NO_GATE = "{connection} has no gate: its `host` is not set."
    SESSION_OVER = "Your session is over. Sign in again."
