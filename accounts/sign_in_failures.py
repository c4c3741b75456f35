"""What a person is told when a sign-in failed: what happened and what to do, for each reason code."""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    problem: str
    advice: str


_ASK_ADMIN = "Tell an admin this code; the log has the details."
_WRONG_CLOCK = Explanation("The identity provider’s token is from the future.", "A clock is wrong: tell an admin.")
_OTHER = Explanation("The identity provider’s token was not accepted.", _ASK_ADMIN)
_EXPLANATIONS = {
    "PROVIDER_DOWN": Explanation("The identity provider does not answer.", "Wait a minute and try again."),
    "PROVIDER_BUSY": Explanation(
        "Too many people are waiting for the identity provider.",
        "It answers slowly at the moment. Try again in a few seconds.",
    ),
    "PROVIDER_REFUSED": Explanation(
        "The identity provider refused the sign-in.",
        "You may have no access to Stint there. Try again, or ask your admin.",
    ),
    "PROVIDER_ANSWER": Explanation("The identity provider’s answer cannot be read.", _ASK_ADMIN),
    "SESSION_OVER": Explanation(
        "Your session at the identity provider is over.",
        "Sign in again. Nothing that you saved here is lost.",
    ),
    "STATE_UNKNOWN": Explanation(
        "This sign-in was started in another browser, or too long ago.",
        "Start it again here. If that repeats, allow cookies for this site.",
    ),
    "CODE_MISSING": Explanation("The identity provider sent no code for the sign-in.", "Start again."),
    "INACTIVE": Explanation(
        "Your account is switched off.", "Ask your admin. The account follows the identity provider."
    ),
    "EXPIRED": Explanation(
        "The identity provider’s token had expired.", "Try again. If that repeats, a clock is wrong: tell an admin."
    ),
    "IAT_FUTURE": _WRONG_CLOCK,
    "NBF_FUTURE": _WRONG_CLOCK,
}
CODES = frozenset(
    {*_EXPLANATIONS, "ALG_NOT_ALLOWED", "SIG_BAD", "KID_UNKNOWN", "KID_AMBIGUOUS", "KEY_BAD", "MALFORMED",
     "ISS_MISMATCH", "AUD_MISMATCH", "AZP_MISMATCH", "CLAIM_MISSING", "SUB_MISSING", "SUB_MISMATCH", "NONCE_MISMATCH",
     "TYP_MISMATCH", "AT_HASH_MISMATCH", "KEY_WEAK", "UNKNOWN"}
)  # fmt: skip


def known_code(code: str) -> str:
    """Return the code, or UNKNOWN for one that no sign-in gives: it comes from the address, so from anybody."""
    return code if code in CODES else "UNKNOWN"


def explain(code: str) -> Explanation:
    """Return what to tell a person whose sign-in failed with this code."""
    return _EXPLANATIONS.get(code, _OTHER)
