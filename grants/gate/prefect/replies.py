"""Answers of Prefect that nobody hears as they are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from grants.gate.kinds import Answers
from grants.gate.types import Code, Json, Match, Refusal

_OTHERS = Refusal(403, Code.GUARD, why="A run that is not this deployment's has this idempotency key already.")


def without_password(_match: Match, answer: Json) -> Json:
    """Prefect has an auth string, which its UI would ask people for. Only the gate needs it."""
    return {**answer, "auth": None} if isinstance(answer, dict) else answer


def own_run(match: Match, answer: Json) -> Json | Refusal:
    """Prefect answers with the run of the same flow that has the caller's key already, whosever it is."""
    made_for = answer.get("deployment_id") if isinstance(answer, dict) else None
    return answer if isinstance(made_for, str) and made_for.lower() == str(UUID(match.params["id"])) else _OTHERS


REPLIES: Mapping[str, Answers] = MappingProxyType({
    "/ui-settings": without_password,
    "/api/deployments/{id:uuid}/create_flow_run": own_run,
})  # fmt: skip
