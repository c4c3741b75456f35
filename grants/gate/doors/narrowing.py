"""Narrow a list's call, or a subscription's message, to what the caller may see."""

from __future__ import annotations

from grants.gate.bounds.aside import aside
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.types import Answer, CallRefused, Code, Fold, Json, Refusal, Send, or_raise
from grants.gate.doors.authorizer import Authorizer, Call, Passed

_UNASKED = Refusal(503, Code.UPSTREAM, why="The orchestrator cannot be asked what may be seen.")


async def narrowed(authorizer: Authorizer, call: Call, body: Json, passed: Passed) -> Send | Answer | Fold:
    """Give what is sent or answered in its place, after deciding once more. Raises CallRefused."""
    kind, lookups, scope = call.served.kind, call.served.lookups, call.match.route.scope
    assert scope is not None
    visible = authorizer.visible(call, passed.outcome)
    wanted = or_raise(await aside(call.size, kind.named, call.match, body, visible))
    try:
        visible_ids = await lookups.visible_ids(visible, scope)
        found = await lookups.resolve(wanted) if wanted else {}
    except LookupFailed:
        raise CallRefused(_UNASKED) from None
    step = await aside(call.size, kind.narrow, call.match, body, visible_ids, found)
    if isinstance(step, Refusal):
        raise CallRefused(step)
    # A list that anybody may ask for passes still, but perhaps no longer as it was narrowed.
    if not authorizer.still_sees(call, authorizer.decide_now(call, passed.asks, passed.found), passed):
        raise CallRefused(Refusal(403, Code.ENDED))
    return step
