"""Blocks' secrets, limits, and the few other routes whose query or body asks for more than their path."""

from __future__ import annotations

from grants.catalog.levels import Level
from grants.gate.decision.ids import UUID
from grants.gate.decision.types import Ask, Found, Json, Lookup, Match
from grants.gate.prefect.lists.filters import Unnarrowable, within_bounds
from grants.gate.prefect.reading.finds import (
    Malformed,
    a_list,
    an_object,
    anywhere,
    found_by,
    on,
    on_block,
    on_server,
    signed_in,
)
from grants.gate.prefect.reading.hydration import hydrates

_FALSE = frozenset({"false", "False", "0"})
_DEPLOYMENT = "prefect.deployment."
_ITS_LIMIT = "deployment:"  # how Prefect names the limit of one deployment
LIMITS = {
    "/api/concurrency_limits/increment": frozenset({"names", "task_run_id"}),
    "/api/concurrency_limits/decrement": frozenset({"names", "task_run_id"}),
    "/api/v2/concurrency_limits/increment": frozenset({"slots", "names", "mode", "create_if_missing"}),
    "/api/v2/concurrency_limits/decrement": frozenset({"slots", "names", "occupancy_seconds", "create_if_missing"}),
    "/api/v2/concurrency_limits/increment-with-lease": frozenset(
        {"slots", "names", "mode", "lease_duration", "holder", "create_if_missing"}
    ),
    "/api/v2/concurrency_limits/decrement-with-lease": frozenset({"lease_id"}),
}


# Blocks.


def block_asks(match: Match, _body: Json, found: Found) -> tuple[Ask, ...]:
    """Ask for `secret` on the block and those that it is made of, unless every `include_secrets` is plainly false."""
    lookup = _block(match)
    told = [value for name, value in match.target.query if name == "include_secrets"]
    need = Level.VIEW if all(value in _FALSE for value in told) else Level.SECRET
    return on_block(match, lookup, found, need)


def _block(match: Match) -> Lookup:
    if "id" in match.params:
        return found_by("block", match.params["id"], "id")
    slug, name = match.params["slug"], match.params["block_document_name"]
    return Lookup("block_name", f"{slug}/{name}")


# Limits belong to the server and to no pool; a deployment has one of its own, found by its name.


def limit_needs(match: Match, body: Json) -> tuple[Lookup, ...]:
    body = an_object(body, LIMITS[match.route.template])
    holder = body.get("task_run_id")
    held = [] if holder is None else [found_by("task_run", holder, "task_run_id")]
    names = [name for name in a_list(body.get("names", []), "names") if isinstance(name, str)]
    own = [name.removeprefix(_ITS_LIMIT) for name in names if name.startswith(_ITS_LIMIT)]
    return (*held, *(Lookup("deployment", key) for key in own if UUID.fullmatch(key)))


def limit_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    """`work` on any resource takes and returns slots; to make a limit by the same call takes `admin`."""
    known = [lookup for lookup in limit_needs(match, body) if found.get(lookup) is not None]
    makes = not (body.get("create_if_missing") is None or body["create_if_missing"] is False)
    need = on_server(match, Level.WORK, *anywhere(match, Level.WORK))
    asks = [need, *(on(match, lookup, found, Level.WORK) for lookup in known)]
    if makes:
        asks.append(on_server(match, Level.ADMIN))
    return tuple(asks)


# What Prefect computes for anybody.


def validate_asks(match: Match, body: Json, _found: Found) -> tuple[Ask, ...]:
    """For callers who may run something. Prefect's error messages repeat values, and values may be variables."""
    an_object(body, {"schema", "values"})
    asks = (on_server(match, Level.RUN, *anywhere(match, Level.RUN)),)
    return (*asks, on_server(match, Level.VIEW)) if hydrates(body.get("values")) else asks


def template_asks(match: Match, body: Json, _found: Found) -> tuple[Ask, ...]:
    """Templates are parts of automations, so they take the level for writing those."""
    if not (body is None or isinstance(body, str)):
        raise Malformed("The template must be a text.")
    return (on_server(match, Level.ADMIN),)


def open_list_asks(match: Match, body: Json, _found: Found) -> tuple[Ask, ...]:
    """Lists that hold nothing that belongs to anybody."""
    try:
        within_bounds(body)
    except Unnarrowable as no:
        raise Malformed(no.refusal.why) from None
    return signed_in(match)


# Automations of one deployment.


def related_needs(match: Match, _body: Json) -> tuple[Lookup, ...]:
    name = match.params["resource_id"]
    key = name.removeprefix(_DEPLOYMENT)
    return (Lookup("deployment", key.lower()),) if name.startswith(_DEPLOYMENT) and UUID.fullmatch(key) else ()


def related_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    return _of_deployment(match, body, found, Level.VIEW, Level.VIEW)


def owned_asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...]:
    return _of_deployment(match, body, found, Level.MANAGE, Level.ADMIN)


def _of_deployment(match: Match, body: Json, found: Found, need: Level, otherwise: Level) -> tuple[Ask, ...]:
    lookups = related_needs(match, body)
    return tuple(on(match, lookup, found, need) for lookup in lookups) or (on_server(match, otherwise),)
