"""The matrix's world at a real Prefect and in the portal: every id that its calls name, and everybody who makes them."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import httpx
from django.db import transaction

from accounts import service_identities
from accounts.models import Subject, Team
from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Connection, Resource
from grants.gate.decision.credentials import COOKIE
from grants.gate.doors.enter import NONCE_COOKIE
from grants.lifecycle import decide
from grants.lifecycle.ask import Wanted, ask
from grants.lifecycle.models import Grant
from grants.policy import versions
from grants.tokens import issue, tickets
from tests.cast import Cast
from tests.gate.prefect.world import Upstream
from tests.real.prefect import PrefectServer

_POLICY = """\
version: 1
owner_tags: false
owners:
  - {match: {kind: [server, pool, deployment, block]}, team: platform}
rules:
""" + "".join(
    f"""\
  - name: {kind}s
    match: {{kind: {kind}}}
    ask: anyone
    levels: [{levels}]
    duration: {{default: 1h, longest: 4h}}
    stages:
      - {{need: 1, from: [owners]}}
    reason: {{min: 10}}
"""
    for kind, levels in (
        ("server", "view, admin"),
        ("pool", "view, run, operate, manage, work"),
        ("deployment", "view, run, operate, manage"),
        ("block", "view, secret"),
    )
)
_NOWHERE = (  # what no call needs to find: it is refused, or granted, by what holds for the whole server
    *("automation", "block_schema", "block_type", "flow_run_state", "lease", "new_id", "saved_search"),
    *("schedule", "task_run_state", "variable"),
)


def seed(server: PrefectServer, auth: str) -> dict[str, str]:
    """Make it all, and tell the ids by the matrix's names."""
    upstream = Upstream(server.url, auth)

    def make(path: str, **body: Any) -> str:
        return str(upstream.do("POST", path, body)["id"])

    def deployment(flow: str, pool: str, name: str, **more: Any) -> str:
        return make("/deployments/", name=name, flow_id=flow, work_pool_name=pool, job_variables={"cpu": 1}, **more)

    def ran(deployment: str) -> tuple[str, str]:
        run = make(f"/deployments/{deployment}/create_flow_run", state={"type": "PENDING"})
        return run, make("/task_runs/", flow_run_id=run, task_key="k", dynamic_key=str(uuid4()))

    ids = {name: str(uuid4()) for name in _NOWHERE} | _WORDS
    ids["pool_id"] = make("/work_pools/", name="pool-a", type="process")
    ids["foreign_pool_id"] = make("/work_pools/", name="pool-b", type="process")
    for name, flow in (("flow", "etl"), ("sibling_flow", "beside"), ("foreign_flow", "elsewhere")):
        ids[name] = make("/flows/", name=flow)
    ids["deployment"] = deployment(ids["flow"], "pool-a", "prod")
    ids["served"] = deployment(ids["flow"], "pool-a", "served", enforce_parameter_schema=False)
    ids["limit"] = make("/v2/concurrency_limits/", name="everybodys", limit=1)
    ids["held"] = deployment(ids["flow"], "pool-a", "held", global_concurrency_limit_id=ids["limit"])
    ids["sibling_deployment"] = deployment(ids["sibling_flow"], "pool-a", "sibling")
    ids["foreign_deployment"] = deployment(ids["foreign_flow"], "pool-b", "other")
    ids["flow_run"], ids["task_run"] = ran(ids["deployment"])
    ids["foreign_flow_run"], ids["foreign_task_run"] = ran(ids["foreign_deployment"])
    ids["foreign_flow_run_plain"] = ids["foreign_flow_run"].replace("-", "")
    ids["artifact"] = make("/artifacts/", key="report", flow_run_id=ids["flow_run"], task_run_id=ids["task_run"])
    for name, pool in (("queue", "pool-a"), ("foreign_queue", "pool-b")):
        ids[name] = str(upstream.do("GET", f"/work_pools/{pool}/queues/default")["id"])
    ids["block"], ids["inner_block"], ids["outer_block"] = server.do(
        {"do": "secret", "name": "token", "value": "x"},
        {"do": "secret", "name": "inner", "value": "y"},
        {"do": "keyring", "name": "outer", "secret": "inner"},
    )
    page = json.dumps({"filter": {}, "count": 9, "page_size": 5, "offset": 5}).encode()
    ids["page_token"] = quote(b64encode(b64encode(page)))
    upstream.http.close()
    return ids


_WORDS = {
    "block_name": "token", "slug": "secret", "checksum": "sha256:abc", "deployment_name": "prod", "flow_name": "etl",
    "foreign_name": "other", "sibling_name": "sibling", "key": "report", "limit_name": "db", "new_name": "brand-new",
    "pool": "pool-a", "foreign_pool": "pool-b", "queue_name": "default", "tag": "db",
    "variable_name": "colour", "worker": "w1",
}  # fmt: skip


class Held(NamedTuple):
    """What everybody calls with: headers by name."""

    headers: Mapping[str, Mapping[str, str]]
    nonces: Mapping[str, tuple[str, str]]  # tickets and nonces of those who come with a browser


def hold(cast: Cast, ids: Mapping[str, str]) -> Held:
    """Everybody asks for what the matrix says that they hold, and gets a credential for it."""
    versions.apply(_POLICY, by=None)
    pool, foreign, sibling, block, outer = _catalog(cast, ids)
    machines = {
        "sibling_deployment": (sibling, "manage"),
        "sibling_pool": (foreign, "manage"),
        **{level: (pool, level) for level in ("view", "run", "operate", "manage", "work")},
        "admin": (cast.server, "admin"),
    }
    headers: dict[str, Mapping[str, str]] = {"none": {}}
    for name, (resource, level) in machines.items():
        service = service_identities.add(Team.objects.get(slug="ingest"), name, by=cast.ada)
        token = issue.issue(_granted(cast, resource, level, service), by=cast.ada).token
        headers[name] = {"Authorization": f"Bearer {token}"}
    for resource in (block, outer):
        _granted(cast, resource, "secret", cast.ben)
    nonces = {}
    cast.connection.refresh_from_db()
    for name, person in (("no_grant", cast.oscar), ("secret", cast.ben)):
        nonce = secrets.token_urlsafe(32)
        digest = hashlib.sha256(nonce.encode()).digest()
        nonces[name] = tickets.hand_over(person, cast.connection, digest), nonce
    return Held(headers, nonces)


def entered(held: Held, url: str) -> dict[str, Mapping[str, str]]:
    """The headers of everybody, after those with a browser have gone in through the gate."""
    headers = dict(held.headers)
    for name, (ticket, nonce) in held.nonces.items():
        answer = httpx.get(
            f"{url}/.stint/enter", params={"ticket": ticket, "to": "/"}, headers={"Cookie": f"{NONCE_COOKIE}={nonce}"}
        )
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert cookie.startswith(f"{COOKIE}=")
        headers[name] = {"Cookie": cookie, "Origin": url}
    return headers


def serve(connection: Connection, *, host: str, url: str, secret_ref: str = "") -> None:
    """Put the gate at `host`, before what answers at `url`."""
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(host=host, url=url, secret_ref=secret_ref)
        record(Verb.CONNECTION_APPLIED, by="test", on=[connection])


def _granted(cast: Cast, resource: Resource, level: str, holder: Subject) -> Grant:
    request = ask(
        [Wanted(resource, level)],
        by=cast.ada if holder.kind == Subject.Kind.SERVICE else holder,
        beneficiary=holder,
        duration=timedelta(hours=1),
        reason="To try every door of the house.",
        idempotency_key=uuid4().hex,
    )
    return decide.approve(request, by=cast.chiara).grants.get()


def _catalog(cast: Cast, ids: Mapping[str, str]) -> list[Resource]:
    now = clock.now()
    with transaction.atomic():
        made = [
            Resource.objects.create(
                connection=cast.connection, kind=kind, remote_id=ids[what], name=name, parent=cast.server, seen_at=now
            )
            for kind, what, name in (
                ("pool", "pool_id", "pool-a"),
                ("pool", "foreign_pool_id", "pool-b"),
                ("deployment", "sibling_deployment", "beside/sibling"),
                ("block", "block", "secret/token"),
                ("block", "outer_block", "keyring/outer"),
            )
        ]
        record(Verb.CATALOG_SYNCED, by="test", on=[cast.connection, *made])
    return made
