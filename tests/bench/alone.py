"""The decision alone, in this process: no sockets, no database, no Prefect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from grants.catalog.levels import Key, Level
from grants.gate.decision.check import check
from grants.gate.decision.credentials import authenticate
from grants.gate.decision.table import RouteTable
from grants.gate.decision.target import canonical
from grants.gate.decision.types import (
    Allow,
    Credential,
    Grant,
    Known,
    Lookup,
    Match,
    Principal,
    Refusal,
    Snapshot,
    Upstream,
)
from grants.gate.prefect.guards.asks import asks, needs
from grants.gate.prefect.routes.table import ROUTES
from grants.tokens.mint import mint
from tests.bench.figures import say, spread

SUBJECTS, GRANTS_EACH, ROUNDS, CALLS = 500, 4, 5, 4_000
UPSTREAM = Upstream("prefect", "prefect", "prefect.test", "http://127.0.0.1:1/api", "test", "")
SERVER = Key("prefect", "server", "server")


def measure() -> None:
    print(
        f"\nThe decision alone: {SUBJECTS} people with {GRANTS_EACH} grants each; requests per CPU-second,"
        " min / median / max"
    )
    snapshot, token = _snapshot()
    pool, deployment = _id("pool", 0), _id("deployment", 0)
    lineage = (Key("prefect", "deployment", deployment), Key("prefect", "pool", pool), SERVER)
    found = {
        Lookup("pool", "pool-0"): Known(lineage[1:], {}),
        Lookup("deployment", deployment): Known(lineage, {}),
    }
    for name, method, path, body in (
        ("GET work pool", "GET", "/api/work_pools/pool-0", None),
        ("GET deployment", "GET", f"/api/deployments/{deployment}", None),
        ("POST deployments/filter", "POST", "/api/deployments/filter", {"limit": 10}),
        ("POST flow_runs/filter", "POST", "/api/flow_runs/filter", {"limit": 10}),
    ):
        decide = _decision(snapshot, token, method, path.encode(), body, found)
        assert isinstance(decide(), Allow)
        say(name, spread([_per_second(decide) for _ in range(ROUNDS)], digits=0))


def _per_second(decide: Callable[[], Any]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        decide()
    return CALLS / (time.process_time() - began)


def _decision(
    snapshot: Snapshot, token: str, method: str, path: bytes, body: Any, known: Mapping[Lookup, Known]
) -> Callable[[], Allow | Any]:
    """All that the gateway does between a head (and a body) and a yes, but for asking Prefect."""
    routes = RouteTable(ROUTES, "prefect")
    headers = [("Host", "prefect.test"), ("User-Agent", "prefect/3"), ("Authorization", f"Bearer {token}")]
    sent = json.dumps(body)

    def decide() -> Allow | Any:
        target = canonical(path)
        assert not isinstance(target, Refusal)
        matched = routes.match(method, target)
        assert isinstance(matched, Match)
        now = datetime.now(UTC)
        principal = authenticate(snapshot, UPSTREAM, headers, now, method=method, target=target)
        assert isinstance(principal, Principal), principal
        parsed = json.loads(sent)
        wanted = needs(matched, parsed)
        assert not isinstance(wanted, Refusal)
        asked = asks(matched, parsed, {lookup: known[lookup] for lookup in wanted})
        assert not isinstance(asked, Refusal)
        return check(snapshot, principal, asked, now)

    return decide


def _id(kind: str, number: int) -> str:
    return f"00000000-0000-4000-8000-{0 if kind == 'pool' else 1}{number:011d}"


def _snapshot() -> tuple[Snapshot, str]:
    now = datetime.now(UTC)
    ends, held = now + timedelta(hours=1), timedelta(hours=1)
    grants, credentials, tokens = {}, {}, []
    for number in range(SUBJECTS * GRANTS_EACH):
        subject, key = number // GRANTS_EACH, Key("prefect", "pool", _id("pool", number % 50))
        grants[number] = Grant(number, subject, key, Level.OPERATE, now - held, ends, ends)
        minted = mint("token")
        tokens.append(minted.token)
        credentials[minted.digest] = Credential(number, "token", minted.digest, subject, "prefect", number, ends, False)
    of = {subject: tuple(range(subject * GRANTS_EACH, (subject + 1) * GRANTS_EACH)) for subject in range(SUBJECTS)}
    snapshot = Snapshot(
        version=1, checked_at=time.monotonic(), clock_offset=timedelta(), credentials=credentials,
        subjects=frozenset(range(SUBJECTS)), grants=grants, grants_of=of, resources={},
        upstreams={UPSTREAM.host: UPSTREAM},
    )  # fmt: skip
    return snapshot, tokens[0]
