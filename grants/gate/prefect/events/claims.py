"""What an event claims to be about. The client may claim anything, and Prefect writes task runs from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from grants.catalog.levels import Key, Level
from grants.gate.decision.types import Ask, Found, Json, Lookup, Match
from grants.gate.prefect.reading.finds import Malformed, a_list, an_object, anywhere, on, on_server, server

KEYS = frozenset({"occurred", "event", "resource", "related", "payload", "id", "follows"})
_ID, _ROLE = "prefect.resource.id", "prefect.resource.role"
_MOST_RELATED = 100  # Prefect's own

# What may be claimed, and the kind of its lookup. Other resources (limits, tags, assets, own names) belong to nobody.
_RUNS = {"prefect.flow-run.": "flow_run", "prefect.task-run.": "task_run"}
_PLACES = {"prefect.deployment.": "deployment", "prefect.work-queue.": "queue"}
_POOL = "prefect.work-pool."  # whose id is its key: nothing to look up
_ALONE = {"prefect.artifact.": "artifact"}  # as the event's own resource only
_BLOCK = "prefect.block-document."  # whose id is its key, too
_LOADED = re.compile(r"prefect\.block\.[a-z0-9_-]{1,200}\.loaded")
_OF_THE_SERVER = ("prefect.automation.", "prefect.flow.")  # the server tells of them; as an event's own resource


class Claims(NamedTuple):
    """The runs that an event writes to, the places that it claims for them, and whether it concerns the server."""

    runs: frozenset[Lookup]
    places: frozenset[Lookup]
    pools: frozenset[str]
    server: bool
    loaded: str = ""  # the block that was loaded, for an event that is about nothing else

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        return tuple(sorted(self.runs | self.places))


def claims(event: Json) -> Claims:
    """Read the claims of an event. Raises Malformed where it cannot be told what the event is about."""
    event = an_object(event, KEYS, "An event")
    own = _labels(event.get("resource"))
    related = [_labels(labels) for labels in a_list(event.get("related", []), "related", _MOST_RELATED)]
    named = {lookup for labels in related for lookup in _named(labels[_ID], {**_RUNS, **_PLACES})}
    for labels in related:
        if labels.get(_ROLE) == "flow-run" and not labels[_ID].startswith("prefect.flow-run."):
            raise Malformed("An event's flow-run must be a flow run.")
    named.update(_named(own[_ID], {**_RUNS, **_PLACES, **_ALONE}))
    payload = event.get("payload", {})
    if not isinstance(payload, dict):
        raise Malformed("An event's payload must be a JSON object.")
    overrides = payload.get("task_run", {})
    if not isinstance(overrides, dict):
        raise Malformed("An event's task run must be a JSON object.")
    # Prefect lets the payload's task run overrule the ids that the event's resources name.
    named.update(_overruled(overrides))
    runs = frozenset(lookup for lookup in named if lookup.kind not in _PLACES.values())
    writes_task = bool(overrides) or any(lookup.kind == "task_run" for lookup in runs)
    in_a_run = any(labels.get(_ROLE) == "flow-run" for labels in related)
    if "flow_run_id" in overrides:
        in_a_run = overrides["flow_run_id"] is not None
    of_server = own[_ID].startswith(_OF_THE_SERVER) or (writes_task and not in_a_run)
    pools = {_id(labels[_ID].removeprefix(_POOL)) for labels in (own, *related) if labels[_ID].startswith(_POOL)}
    return Claims(runs, frozenset(named) - runs, frozenset(pools), of_server, _loaded(event, own[_ID]))


def on_event(match: Match, event: Json, found: Found) -> tuple[Ask, ...]:
    """Ask for `work` on every run that an event names, and on every place that these runs do not belong to."""
    said = claims(event)
    asks = []
    within: set[tuple[str, str]] = set()
    for lookup in said.runs:
        known = found.get(lookup)
        if known is not None:
            within.update((key.kind, key.id) for key in known.lineage if key.kind != "server")
        elif lookup.kind != "flow_run":
            continue  # a task run that begins with this event: its flow run decides, or the server
        asks.append(on(match, lookup, found, Level.WORK))
    for lookup in said.places:
        known = found.get(lookup)
        if known is not None and known.lineage[0][1:] not in within:  # one that is gone can't be harmed
            asks.append(on(match, lookup, found, Level.WORK))
    pools = sorted(pool for pool in said.pools if ("pool", pool) not in within)
    asks += [Ask((Key(match.connection, "pool", pool), server(match)), Level.WORK) for pool in pools]
    if said.server:
        asks.append(on_server(match, Level.WORK))
    if asks:
        return tuple(asks)
    workers = anywhere(match, Level.WORK)
    if said.loaded:  # Secret.load() emits this: a caller who may read the block may say that it was read
        return (Ask((Key(match.connection, "block", said.loaded), *workers), Level.SECRET),)
    return (on_server(match, Level.WORK, *workers),)


def _loaded(event: dict[str, Json], own: str) -> str:
    name = event.get("event")
    told = own.startswith(_BLOCK) and isinstance(name, str) and _LOADED.fullmatch(name)
    return _id(own.removeprefix(_BLOCK)) if told else ""


def _labels(labels: Json) -> dict[str, str]:
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise Malformed("An event's resources must be labels.")
    if not labels.get(_ID):
        raise Malformed(f"An event's resources must hold {_ID}.")
    return labels


def _named(name: str, kinds: dict[str, str]) -> Iterator[Lookup]:
    for prefix, kind in kinds.items():
        if name.startswith(prefix):
            yield Lookup(kind, _id(name.removeprefix(prefix)))


def _overruled(task_run: dict[str, Json]) -> Iterator[Lookup]:
    for key, kind in (("id", "task_run"), ("flow_run_id", "flow_run")):
        if task_run.get(key) is not None:
            yield Lookup(kind, _id(task_run[key]))


def _id(value: Json) -> str:
    """Read an id in any spelling that Prefect takes."""
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise Malformed("An event names a run by what is no id.") from None
