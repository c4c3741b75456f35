"""The moves of a request, and how one is made. Everything unlisted is illegal (MODEL §2)."""

from __future__ import annotations

from datetime import datetime

from grants.lifecycle.errors import Conflict
from grants.lifecycle.models import Request

State = Request.State

MOVES: dict[str, frozenset[str]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED, State.WITHDRAWN, State.LAPSED}),
    State.APPROVED: frozenset(),
    State.DENIED: frozenset(),
    State.WITHDRAWN: frozenset(),
    State.LAPSED: frozenset(),
}


def move(request: Request, to: Request.State, *, now: datetime) -> None:
    """Move a request by one conditional UPDATE. Raises Conflict when it is not where `to` can be reached from."""
    origins = [state for state, targets in MOVES.items() if to in targets]
    moved = Request.objects.filter(pk=request.pk, state__in=origins).update(state=to, closed_at=now)
    if not moved:
        request.refresh_from_db()
        raise Conflict(f"{request.ref} is {request.get_state_display().lower()} already.")
    request.state, request.closed_at = to, now
