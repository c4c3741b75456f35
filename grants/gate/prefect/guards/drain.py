"""What a worker may do in the drain of an access: report on runs that had started before the end."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from grants.gate.decision.types import Drain, Drains, Found, Lookup, Match

_RUNS = frozenset({"flow_run", "task_run", "artifact"})  # kinds of Lookup that name a run
_EVENTS = frozenset({"/api/events", "/api/events/in"})  # to which a worker also sends events about itself
_MAKES = "/api/flow_runs/"  # makes a sub-flow of a run that had started; one with a deployment is a new run


def may_finish(match: Match, wanted: Collection[Lookup], found: Found, drain: Drain) -> bool:
    """Tell whether a call reports on runs that had started when the access ended, on at least one and on no others."""
    if match.route.drains is Drains.ALWAYS:
        return True
    if match.route.drains is not Drains.RUN:
        return False
    if match.route.template == _MAKES and any(lookup.kind == "deployment" for lookup in wanted):
        return False
    runs = [lookup for lookup in wanted if lookup.kind in _RUNS]
    begun = [_begun(found, lookup, drain.ended) for lookup in runs]
    if not runs:
        return match.route.template in _EVENTS
    # A task run that Prefect does not know yet begins now, in a flow run that is named with it.
    return all(known is not False for known in begun) and any(begun)


def _begun(found: Found, lookup: Lookup, ended: datetime) -> bool | None:
    """None: a task run or artifact that the orchestrator does not know."""
    known = found.get(lookup)
    if known is None:
        return None if lookup.kind != "flow_run" else False
    started = known.facts.get("started")
    return isinstance(started, str) and datetime.fromisoformat(started) <= ended
