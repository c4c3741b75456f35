"""What a worker may still do after the end of its access: report on the runs that it had started."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from grants.gate.decision.types import Drain, Drains, Found, Lookup, Match

_RUNS = frozenset({"flow_run", "task_run", "artifact"})  # kinds of Lookup that name a run
_EVENTS = frozenset({"/api/events", "/api/events/in"})  # where a worker also tells of itself
_MAKES = "/api/flow_runs/"  # a part of a run that had started, unless it is a deployment's: that is a new one


def may_finish(match: Match, wanted: Collection[Lookup], found: Found, drain: Drain) -> bool:
    """Whether a call reports on runs that had started when the access ended: on one at least, and on no other."""
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
    # A task run that Prefect has not written yet begins now, in a flow run that is named beside it.
    return all(known is not False for known in begun) and any(begun)


def _begun(found: Found, lookup: Lookup, ended: datetime) -> bool | None:
    """None: a task run or artifact that the orchestrator does not know."""
    known = found.get(lookup)
    if known is None:
        return None if lookup.kind != "flow_run" else False
    started = known.facts.get("started")
    return isinstance(started, str) and datetime.fromisoformat(started) <= ended
