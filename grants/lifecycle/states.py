"""The state changes of a request, and the one function that makes them. All others are illegal (docs/model.md)."""

from __future__ import annotations

from datetime import datetime

from accounts.errors import Conflict
from grants.lifecycle.models import Request
from grants.lifecycle.sentences import Says

State = Request.State

MOVES: dict[str, frozenset[str]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED, State.WITHDRAWN, State.LAPSED}),
    State.APPROVED: frozenset(),
    State.DENIED: frozenset(),
    State.WITHDRAWN: frozenset(),
    State.LAPSED: frozenset(),
}


def closed(request: Request, by: str = "") -> Conflict:
    """The error for a request that is no longer pending; `by`: the name of the person who decided it."""
    state = request.get_state_display().lower()
    if by:
        return Conflict(Says.CLOSED_BY, request=request.ref, state=state, name=by)
    return Conflict(Says.CLOSED, request=request.ref, state=state)


def move(request: Request, to: Request.State, *, now: datetime) -> None:
    """Change the state by one conditional UPDATE. Raises Conflict when `to` cannot be reached from the present one."""
    origins = [state for state, targets in MOVES.items() if to in targets]
    moved = Request.objects.filter(pk=request.pk, state__in=origins).update(state=to, closed_at=now)
    if not moved:
        request.refresh_from_db()
        raise closed(request)
    request.state, request.closed_at = to, now
