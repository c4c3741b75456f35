"""What became of a request or a grant at a moment: derived from its window, whatever a sweep has or has not done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from grants.lifecycle.models import Grant, Request

EndReason = Grant.EndReason
ENDING = timedelta(minutes=30)  # before its end a live grant is "ending", or a quarter of its length if that is less
LIVELIEST = ("granted", "ending", "scheduled", "ended")

WORDS = {
    **{state.value: str(state.label) for state in Request.State},
    "scheduled": "Scheduled",
    "granted": "Live",
    "ending": "Ends soon",
    "ended": "Ended",
}
CLOSED_WORDS = {
    EndReason.ELAPSED: "Ended",
    EndReason.GIVEN_BACK: "Ended early",
    EndReason.REVOKED: "Revoked",
    EndReason.LEFT: "Ended: the person left",
    EndReason.RETIRED: "Ended: the resource is gone",
}


class Standing(NamedTuple):
    """A state (a key of WORDS) and the word for it, which says how access ended."""

    state: str
    word: str


def state_of(starts_at: datetime, over_at: datetime, now: datetime) -> str:
    """A grant's state as its window says: scheduled, granted, ending or ended. Never a column."""
    if now < starts_at:
        return "scheduled"
    if now >= over_at:
        return "ended"
    return "ending" if over_at - now < min(ENDING, (over_at - starts_at) / 4) else "granted"


def of_item(request: Request, grant: Grant | None, now: datetime) -> Standing:
    """What became of one item of a request."""
    if grant is not None:
        return of_grant(grant, now)
    state = request.state
    if state == Request.State.PENDING and now >= request.lapses_at:
        state = Request.State.LAPSED
    return Standing(state, WORDS[state])


def of_grant(grant: Grant, now: datetime) -> Standing:
    state = state_of(grant.starts_at, grant.over_at, now)
    if state == "ended":
        return Standing(state, CLOSED_WORDS[EndReason(grant.end_reason or EndReason.ELAPSED)])
    return Standing(state, WORDS[state])


def of_request(request: Request, grants: Sequence[Grant], now: datetime) -> Standing:
    """Of a whole request: the liveliest of its grants, or its own state."""
    if not grants:
        return of_item(request, None, now)
    return min((of_grant(grant, now) for grant in grants), key=lambda standing: LIVELIEST.index(standing.state))
