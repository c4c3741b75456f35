"""Answers of Prefect that are changed or refused before the caller gets them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from grants.gate.decision.kinds import RewriteAnswer
from grants.gate.decision.types import Code, Found, Json, Lookup, Match, Refusal

_OTHERS = Refusal(403, Code.GUARD, why="A run that is not this deployment's has this idempotency key already.")
_NEWER = Refusal(503, Code.UPSTREAM, why="Another artifact came under this key just now. Ask again.")
_MASK = "********"
_TELLING = (
    ("server", "docket", "url"),
    ("client", "custom_headers"),
)  # settings that may hold passwords and that Prefect does not mask


def without_password(_match: Match, answer: Json, _found: Found) -> Json:
    """Hide that Prefect has an auth string: its UI would ask people for it, and only the gate needs it."""
    return {**answer, "auth": None} if isinstance(answer, dict) else answer


def masked(_match: Match, answer: Json, _found: Found) -> Json:
    """Mask the server's settings that may hold a password."""
    for *path, last in _TELLING:
        part = answer
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, dict) and part.get(last):
            part[last] = _MASK if isinstance(part[last], str) else dict.fromkeys(part[last], _MASK)
    return answer


def of_that_run(match: Match, answer: Json, found: Found) -> Json | Refusal:
    """Refuse an artifact of another run: a newer one may have come between the lookup and the answer."""
    known = found.get(Lookup("artifact_key", match.params["key"]))
    run = answer.get("flow_run_id") if isinstance(answer, dict) else None
    return answer if known is not None and known.facts.get("flow_run_id") == run else _NEWER


def own_run(match: Match, answer: Json, _found: Found) -> Json | Refusal:
    """Refuse a run of another deployment: Prefect answers with any run of the flow that has the caller's key."""
    made_for = answer.get("deployment_id") if isinstance(answer, dict) else None
    return answer if isinstance(made_for, str) and made_for.lower() == str(UUID(match.params["id"])) else _OTHERS


REPLIES: Mapping[str, RewriteAnswer] = MappingProxyType({
    "/ui-settings": without_password,
    "/api/admin/settings": masked,
    "/api/artifacts/{key}/latest": of_that_run,
    "/api/deployments/{id:uuid}/create_flow_run": own_run,
})  # fmt: skip
