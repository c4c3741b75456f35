"""Two teams on one real Prefect server that answers nobody without its auth string, and a gate that only narrows.

Alpha and Bravo each have a pool, with a flow of their own and one that both deploy. Whatever belongs to a team has
its word in its name, so that a stranger's answer can be searched for it as bytes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import httpx

from grants.gate.decision.types import Answer, Body, Fold, Json, Match, Refusal, Route, Send, Target
from grants.gate.prefect.lists.narrow import named, narrow
from grants.gate.prefect.lookups.resolve import Lookups
from grants.gate.prefect.lookups.visible_ids import Granted
from tests.gate.prefect.served import SCOPE_OF
from tests.real.prefect import Patient, PrefectServer, running_prefect

HISTORY = {
    "history_start": "2020-01-01T00:00:00Z",
    "history_end": "2040-01-01T00:00:00Z",
    "history_interval_seconds": 8e7,
}
NOTHING = Granted(all=False)
AUTH = "gate:" + secrets.token_urlsafe(12)


class Upstream:
    """The door's client as lookups see it."""

    def __init__(self, url: str, auth: str = AUTH) -> None:
        name, _, word = auth.partition(":")
        self.http = httpx.Client(base_url=url.removesuffix("/api"), auth=(name, word), timeout=60, transport=Patient())
        self.asked: list[str] = []

    async def json(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        self.asked.append(f"{method} {target}")
        answer = self.send(method, target, body)
        return answer.status_code, answer.json()

    def send(self, method: str, target: str, body: Json = None) -> httpx.Response:
        return self.http.request(method, target, json=body if method != "GET" else None)

    def do(self, method: str, path: str, body: Json = None) -> Any:
        answer = self.send(method, f"/api{path}", body)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None


class Seen(NamedTuple):
    """What came back through the gate."""

    status: int
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def match_of(method: str, path: str, template: str, query: Mapping[str, str] | None = None) -> Match:
    pairs = tuple((query or {}).items())
    raw = path + (f"?{urlencode(pairs)}" if pairs else "")
    route = Route(method, template, None, body=Body.JSON, scope=SCOPE_OF[method, template])
    return Match(route, {}, Target(path, path, pairs, raw))


class Team(NamedTuple):
    word: str
    pool: str
    pool_name: str
    queue: str
    own: str  # deployment of its own flow
    shared: str  # of the flow that both have
    flow: str
    ids: dict[str, str]  # everything else that was made, by what it is

    @property
    def canaries(self) -> list[bytes]:
        return [self.word.encode(), *(value.encode() for value in (*self[1:7], *self.ids.values()))]


class World:
    def __init__(self, server: PrefectServer) -> None:
        self.url = server.url
        self.upstream = Upstream(server.url)
        self.lookups = Lookups("prod", self.upstream)
        self.loop = asyncio.Runner()
        self.tag = secrets.token_hex(3)
        self.flow = self.make("/flows/", name=f"both-{self.tag}")
        self.alpha = self._team(f"alpha{self.tag}")
        self.bravo = self._team(f"bravo{self.tag}")
        self._crossed()
        self._nobodys()
        self._blocks(server)
        self._await_events()

    def make(self, path: str, **body: Any) -> str:
        return str(self.upstream.do("POST", path, body)["id"])

    # Through the gate.

    def call(
        self, visible: Granted, method: str, path: str, body: Json = None, *, template: str = "", **query: str
    ) -> Seen:
        """A list's call as the door handles it once it was let in."""
        match = match_of(
            method,
            f"/api{path}",
            f"/api{template or path}",
            {k.replace("_", "-") if k == "page_token" else k: v for k, v in query.items()},
        )
        wanted = named(match, body, visible)
        if isinstance(wanted, Refusal):
            return Seen(wanted.status, wanted.why.encode())
        found = self.loop.run(self.lookups.resolve(wanted))
        shown = self.loop.run(self.lookups.visible_ids(visible, match.route.scope))
        outcome = narrow(match, body, shown, found)
        match outcome:
            case Refusal():
                return Seen(outcome.status, outcome.why.encode())
            case Answer():
                return Seen(outcome.status, json.dumps(outcome.body).encode())
            case Send():
                answer = self.upstream.send(*outcome)
                return Seen(answer.status_code, answer.content)
            case Fold():
                answers = [self.upstream.send(*send) for send in outcome.sends]
                for answer in answers:
                    if not answer.is_success:
                        return Seen(answer.status_code, answer.content)
                return Seen(200, json.dumps(outcome.fold([answer.json() for answer in answers])).encode())

    def sees(self, team: Team) -> Granted:
        return Granted(all=False, pools=frozenset({team.pool}))

    # What there is.

    def _team(self, word: str) -> Team:
        ids: dict[str, str] = {}
        pool = self.make("/work_pools/", name=f"{word}-pool", type="process", description=f"{word} pool")
        queue = self.make(f"/work_pools/{word}-pool/queues", name=f"{word}-queue")
        flow = self.make("/flows/", name=f"{word}-flow")
        own, shared = (
            self.make(
                "/deployments/", name=f"{word}-{name}", flow_id=flow_id, work_pool_name=f"{word}-pool", tags=[word]
            )
            for name, flow_id in (("own", flow), ("shared", self.flow))
        )
        for name, deployment in (("own", own), ("shared", shared)):
            made = self._run(word, name, f"/deployments/{deployment}/create_flow_run")
            ids |= {f"{name}-{what}": value for what, value in made.items()}
            ids[f"{name}-next"] = self.make(
                f"/deployments/{deployment}/create_flow_run",
                name=f"{word}-{name}-next",
                state={"type": "SCHEDULED", "state_details": {"scheduled_time": _at(hours=1)}},
            )
        ids["sub-flow"] = self.make("/flows/", name=f"{word}-sub-flow")
        made = self._run(word, "sub", "/flow_runs/", flow_id=ids["sub-flow"], parent_task_run_id=ids["own-task"])
        ids |= {f"sub-{what}": value for what, value in made.items()}
        deeper = self._run(word, "subsub", "/flow_runs/", flow_id=ids["sub-flow"], parent_task_run_id=ids["sub-task"])
        ids |= {f"subsub-{what}": value for what, value in deeper.items()}
        team = Team(word, pool, f"{word}-pool", queue, own, shared, flow, ids)
        self._events(team)
        return team

    def _run(self, word: str, name: str, path: str, **more: Any) -> dict[str, str]:
        """A run with a task, an artifact and logs."""
        run = self.make(path, name=f"{word}-{name}-run", tags=[word], state={"type": "PENDING"}, **more)
        for state in ("RUNNING", "COMPLETED"):
            self.upstream.do("POST", f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
        task = self.make(
            "/task_runs/", flow_run_id=run, name=f"{word}-{name}-task", task_key=f"{word}.task", dynamic_key=str(uuid4()),
            state={"type": "COMPLETED"},
        )  # fmt: skip
        artifact = self.make(
            "/artifacts/", key=f"{word}-{name}", type="markdown", data=f"{word} data", flow_run_id=run, task_run_id=task
        )
        line = {"name": f"{word}.logger", "level": 20, "timestamp": _at(), "flow_run_id": run}
        self.upstream.do(
            "POST",
            "/logs/",
            [{**line, "message": f"{word} run"}, {**line, "message": f"{word} task", "task_run_id": task}],
        )
        return {"run": run, "task": task, "artifact": artifact}

    def _events(self, team: Team) -> None:
        def event(name: str, resource: str, *related: tuple[str, str]) -> Json:
            return {
                "id": str(uuid4()), "occurred": _at(), "event": f"{team.word}.{name}", "payload": {"of": team.word},
                "resource": {"prefect.resource.id": resource, "prefect.resource.name": f"{team.word}-thing"},
                "related": [{"prefect.resource.id": key, "prefect.resource.role": role} for key, role in related],
            }  # fmt: skip

        pool, deployment = f"prefect.work-pool.{team.pool}", f"prefect.deployment.{team.own}"
        self.upstream.do("POST", "/events", [
            *(event(f"pool{n}", f"{team.word}.worker", (pool, "work-pool")) for n in range(60)),
            event("run", f"prefect.flow-run.{team.ids['own-run']}", (deployment, "deployment"), (pool, "work-pool")),
            event("sub", f"prefect.flow-run.{team.ids['sub-run']}", (f"prefect.flow.{team.ids['sub-flow']}", "flow")),
            event("loose", f"{team.word}.loose"),
        ])  # fmt: skip

    def _crossed(self) -> None:
        """Bravo's runs that a run of Alpha's started: Bravo's all the same, though Alpha's tasks hold their ids."""
        parent, bravo = self.alpha.ids["shared-task"], self.bravo
        self.crossed = self.make(
            f"/deployments/{bravo.own}/create_flow_run", name=f"{bravo.word}-crossed", parent_task_run_id=parent
        )
        second = self.make(
            "/task_runs/", flow_run_id=self.alpha.ids["shared-run"], name="second", task_key="k", dynamic_key="2"
        )
        self.crossed_pool = self.make(
            "/flow_runs/", flow_id=bravo.flow, name=f"{bravo.word}-crossed-pool", work_pool_name=bravo.pool_name,
            parent_task_run_id=second, state={"type": "SCHEDULED"},
        )  # fmt: skip
        line = {"name": bravo.word, "level": 20, "timestamp": _at(), "message": f"{bravo.word} forged"}
        forged = {**line, "flow_run_id": bravo.ids["own-run"], "task_run_id": self.alpha.ids["own-task"]}
        self.upstream.do("POST", "/logs/", [forged])

    def _nobodys(self) -> None:
        """What belongs to the server: none of it has Alpha's word."""
        word, ids, do = self.bravo.word, self.bravo.ids, self.upstream.do
        loose = self._run(word, "loose", "/flow_runs/", flow_id=self.flow)
        ids |= {f"loose-{what}": value for what, value in loose.items()}
        ids["background"] = self.make(
            "/task_runs/", name=f"{word}-background", task_key=f"{word}.b", dynamic_key="b", state={"type": "COMPLETED"}
        )
        ids["on-pool"] = self.make(
            "/flow_runs/", flow_id=self.flow, name=f"{word}-on-pool", work_pool_name=self.bravo.pool_name
        )
        self.variable = f"{word}_variable"
        ids["variable"] = self.make("/variables/", name=self.variable, value=f"{word}-value")
        ids["tag-limit"] = self.make("/concurrency_limits/", tag=f"{word}-tag", concurrency_limit=1)
        ids["limit"] = self.make("/v2/concurrency_limits/", name=f"{word}-limit", limit=1)
        ids["search"] = str(do("PUT", "/saved_searches/", {"name": f"{word}-search", "filters": []})["id"])
        trigger = {"type": "event", "posture": "Reactive", "threshold": 1, "within": 0, "expect": [f"{word}.x"]}
        ids["automation"] = self.make(
            "/automations/", name=f"{word}-automation", trigger=trigger,
            actions=[{"type": "run-deployment", "source": "selected", "deployment_id": self.alpha.own}],
        )  # fmt: skip

    def _blocks(self, server: PrefectServer) -> None:
        names = [self.alpha.word, self.bravo.word]
        plain = [{"do": "secret", "name": f"{word}-secret", "value": f"{word}-secret-value"} for word in names]
        nested = [{"do": "keyring", "name": f"{word}-keyring", "secret": f"{self.bravo.word}-secret"} for word in names]
        made = server.do(*plain, *nested)
        self.blocks = dict(zip(("alpha", "bravo", "alpha-keyring", "bravo-keyring"), made, strict=True))

    def _await_events(self) -> None:
        body = {"filter": {"event": {"prefix": [self.bravo.word]}}}
        deadline = time.monotonic() + 30
        while self.upstream.do("POST", "/events/filter", body)["total"] < 63 and time.monotonic() < deadline:
            time.sleep(0.1)


def _at(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


@contextmanager
def running_world(home: Path) -> Iterator[World]:
    with running_prefect(home, PREFECT_SERVER_API_AUTH_STRING=AUTH, PREFECT_API_AUTH_STRING=AUTH) as server:
        assert urlsplit(server.url).hostname == "127.0.0.1"
        world = World(server)
        try:
            yield world
        finally:
            world.loop.close()
            world.upstream.http.close()


def leaked(raw: bytes, canaries: Collection[bytes]) -> list[bytes]:
    return [canary for canary in canaries if canary in raw]


def ids(seen: Seen) -> set[str]:
    assert seen.status == 200, seen
    return {row["id"] for row in seen.json}


def token(world: World) -> str:
    """The page token of somebody who sees everything."""
    page = world.upstream.do(
        "POST", "/events/filter", {"filter": {"event": {"prefix": [world.bravo.word]}}, "limit": 5}
    )
    return str(page["next_page"]).partition("page-token=")[2].replace("%3D", "=")
