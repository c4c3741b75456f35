"""The sentences of this package for a person whose action was refused, or would be."""

from __future__ import annotations

from enum import unique

from accounts.errors import Sentence
from grants.policy.rulings import Denied


@unique
class Says(Sentence):
    # Asking.
    NO_ITEMS = "Choose what you want access to."
    TOO_MANY = "A request holds {most} items at most."
    TWICE = "The same thing is in the request twice."
    RETIRED = "{names} is gone from its orchestrator."
    YOU_INACTIVE = "Your account is switched off."
    INACTIVE = "{name} is switched off."
    ON_BEHALF = "You can ask for yourself, and for service identities of your own teams."
    NO_POLICY = "No policy is in force, so nothing can be asked for. Tell an admin."
    DENIED = "{reason}"  # the sentence of a rule; `why` is its code
    TOO_SHORT = "Ask for one minute or more."
    TOO_LONG = "The longest here is {longest}, by rule {rule}: choose that or less."
    TOO_FEW_FOR_ALL = (
        "Too few can approve all of this ({stage}, after the stages before): a person counts once per request. "
        "Ask for the items one by one."
    )
    NOBODY_APPROVES = "Nobody can approve this now ({stage}). Tell an admin: the policy or the teams must change."
    TOO_FEW_APPROVE = (
        "Only {can} of the {need} needed can approve this now ({stage}). "
        "Tell an admin: the policy or the teams must change."
    )
    REASON_LENGTH = "Say why in {least} to {most} characters that can be seen; this has {has}."
    REASON_HIDES = "The reason has a character that cannot be seen ({character}). Delete it, or type the words again."
    SENT_BEFORE = "This form was sent already, as {request}, with other contents. Open a new one."
    YOU_ASKED_ALREADY = "You asked for {level} on {name} already: {request} is pending."
    TEAM_ASKED_ALREADY = "Your team asked for {level} on {name} already: {request} is pending."
    JUST_DECIDED = "Somebody decided this a moment ago. Send it again."
    # Deciding.
    CLOSED = "{request} is {state} already."
    CLOSED_BY = "{request} is {state} already by {name}."
    LAPSED = "{request} has lapsed: nobody decided in time."
    ALL_APPROVED = "{request} has all its approvals already."
    NOT_YOURS_TO_WITHDRAW = "Only the requester can withdraw a request."
    OWN_REQUEST = "You asked for this yourself, so somebody else decides."
    OWN_ACCESS = "This is for you, so somebody else decides."
    NOTHING_DECIDES = "No policy is in force, so nothing can be decided. Tell an admin."
    NOT_ASKED = "You are not among those who are asked."
    NO_STAGE = "All approvals are there."
    VOTED = "You have approved this already; somebody else must, too."
    GONE = "{names} is gone from its orchestrator, so it can't be granted."
    SWITCHED_OFF_THERE = "{name} is switched off at the identity provider."
    POLICY_CHANGED = "The policy has changed since this was asked: {reason}"
    POLICY_SHORTER = "The policy has changed since this was asked: it is longer than a rule now allows."
    NOTE_HIDES = "The note has a character that cannot be seen ({character}). Delete it, or type the words again."
    NOTE_LENGTH = "A note has {most} characters at most; this has {has}."
    # Ending.
    NOT_HELD = "Only the holder of an access can give it back."
    NOT_REVOCABLE = "Only an owner of the resource or an admin can revoke this."
    OVER = "{grant} is over already."


def denied(sentence: Says, **params: object) -> Denied:
    """Return a ruling that is made before any rule is judged."""
    return Denied(sentence.code, sentence.say(**params))
