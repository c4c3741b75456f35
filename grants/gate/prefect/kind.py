"""Prefect, as the gateway serves it: the table, what its guards ask, how its lists narrow, what its sockets say."""

from __future__ import annotations

from types import MappingProxyType

from grants.gate.decision.kinds import Kind, Sockets, Started
from grants.gate.decision.types import Json
from grants.gate.prefect.authorization import AuthString
from grants.gate.prefect.events import socket_messages
from grants.gate.prefect.guards.asks import asks, needs
from grants.gate.prefect.guards.deployments import alone
from grants.gate.prefect.guards.drain import may_finish
from grants.gate.prefect.guards.replies import REPLIES
from grants.gate.prefect.lists.narrow import named, narrow
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import visible, visible_in_drain
from grants.gate.prefect.routes.table import ROUTES

# The versions of clients are measured: docs/operations.md, "The versions that work".
_ANONYMOUS = (
    'Set PREFECT_CLIENT_CUSTOM_HEADERS to {"Authorization": "Bearer <your token>"}: it serves calls and sockets '
    "alike. Prefect's clients send it since 3.4.8; the gate needs 3.6.14 or later."
)
_WITHOUT_PROTOCOL = (
    "It does not offer the subprotocol prefect, which Prefect's clients and workers send since 3.6.14: upgrade Prefect "
    "where this client runs."
)
_STARTS = frozenset({
    "/api/deployments/{id:uuid}/create_flow_run",
    "/api/deployments/{id:uuid}/create_flow_run/bulk",
    "/api/flow_runs/",
})  # fmt: skip


def started(answer: Json) -> tuple[str, ...]:
    """Read the ids of the started runs from an answer."""
    if isinstance(answer, dict) and isinstance(answer.get("results"), list):
        answer = answer["results"]
    rows = answer if isinstance(answer, list) else [answer]
    ids = (row.get("flow_run_id") or row.get("id") for row in rows if isinstance(row, dict))
    return tuple(run for run in ids if isinstance(run, str))


# Pages of the server may call this host alone: not a service that counts visitors, and not a host to which a script
# that got into a run's log would send what it finds. The UI needs inline styles and scripts, and workers from blobs.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

PREFECT = Kind(
    name="prefect",
    routes=ROUTES,
    needs=needs,
    asks=asks,
    named=named,
    narrow=narrow,
    lookups=Lookups,
    authorize=AuthString,
    alone=alone,
    may_finish=may_finish,
    visible=visible,
    visible_in_drain=visible_in_drain,
    page_policy=_PAGE_POLICY,
    api="/api",
    things=MappingProxyType({"deployment": "deployment", "pool": "work pool", "server": "server", "block": "block"}),
    sockets=Sockets(
        protocol="prefect",
        first=socket_messages.first,
        needs=socket_messages.socket_needs,
        asks=socket_messages.socket_asks,
        sends=socket_messages.socket_sends,
        loose=frozenset({"/api/events/in"}),
        anonymous=f"A socket's handshake shows no PREFECT_API_KEY. {_ANONYMOUS}",
        without_protocol=_WITHOUT_PROTOCOL,
    ),
    started=Started(_STARTS, started),
    answers=REPLIES,
    anonymous=_ANONYMOUS,
    headers=frozenset({"x-prefect-api-version", "x-prefect-ui", "prefect-csrf-token", "prefect-csrf-client"}),
)
