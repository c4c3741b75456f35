"""The whole job, with real parts: found, asked for, approved, used through the gate by program and browser, ended.

On the demo's own provider and on a real Keycloak. What is told of Prefect is judged past the gate, with its auth
string; what is told of roles, by the provider's admin.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError

from portal.demo import keycloak as server
from portal.demo.realm import PASSWORD
from portal.embedded import EmbeddedError
from tests.e2e.running import ROOT, Running, fresh
from tests.real.keycloak import Admin
from tests.real.prefect import Patient, missing

pytestmark = [pytest.mark.e2e]
ROLE = "prefect-demo:deployment:orders/nightly:run"
WHY = "The nightly run died on the Adyen schema change; the fix is merged."
SIBLING = "canary-of-the-backfill"  # the name of a run that Ada must not see
NOT_HERS = ("backfill", "adhoc", "report", "finance", "trial", "train", SIBLING)
NO_ID = "00000000-0000-0000-0000-000000000000"


@dataclass
class Job:
    """A demo, its people and its provider, as seen by an admin of each."""

    demo: Running
    browser: Browser
    keycloak: bool

    def sign_in(self, name: str) -> Page:
        page = fresh(self.browser)
        page.goto(self.demo.web)
        page.get_by_role("link", name="Sign in").click()
        if self.keycloak:
            page.get_by_label("Username or email").fill(name.lower())
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_role("button", name="Sign In").click()
        else:
            page.get_by_role("button", name=re.compile(f"^{name}")).click()
        page.wait_for_url(f"{self.demo.web}/")
        return page

    def roles_of_ada(self) -> set[str]:
        """Of Stint's client, as the provider has them."""
        url = f"http://localhost:{self.demo.ports['OIDC']}"
        if self.keycloak:
            admin = Admin(url, "stint")
            try:
                return admin.roles(admin.user("ada"))
            finally:
                admin.http.close()
        bearer = {"Authorization": f"Bearer {self.demo.secret('directory')}"}
        people = (
            httpx.get(f"http://127.0.0.1:{self.demo.ports['OIDC']}/admin/users", headers=bearer)
            .raise_for_status()
            .json()["users"]
        )
        return next(set(one["roles"]) for one in people if one["username"] == "ada")

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """Past the gate."""
        with self.demo.prefect() as http:
            return http.request(method, path, json=body).raise_for_status().json()

    def deployment(self, name: str) -> str:
        return str(self.prefect("GET", f"/deployments/name/{name}")["id"])

    def state(self, run: str) -> str:
        return str(self.prefect("GET", f"/flow_runs/{run}")["state_type"])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="demo", marks=pytest.mark.xdist_group("whole-demo")),
        pytest.param(True, id="keycloak", marks=[pytest.mark.real, pytest.mark.xdist_group("whole-keycloak")]),
    ],
)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Job]:
    more = {}
    if request.param:
        more = {"STINT_DEMO_KEYCLOAK": "1"}
        try:
            server.template()
        except EmbeddedError as error:
            missing(f"Keycloak ({error})")
    running = Running(tmp_path_factory.mktemp("whole") / "d", **more)
    running.start()
    yield Job(running, chromium, keycloak=bool(request.param))
    running.end()
    assert running.left() == []


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class Shell:
    """Where somebody has pasted the lines from the page of their token; what runs there is the real Prefect client."""

    def __init__(self, job: Job, lines: str) -> None:
        told = dict(re.findall(r"export (\w+)='([^']*)'", lines))
        assert set(told) == {"PREFECT_API_URL", "PREFECT_CLIENT_CUSTOM_HEADERS"}
        self.url, self.headers = told["PREFECT_API_URL"], json.loads(told["PREFECT_CLIENT_CUSTOM_HEADERS"])
        kept = {name: value for name, value in job.demo.env.items() if not name.startswith(("STINT_", "PREFECT_"))}
        home = str(job.demo.folder / "home-of-ada")
        self.env = kept | told | {"PREFECT_HOME": home, "COLUMNS": "300", "DO_NOT_TRACK": "1"}

    def begin(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def prefect(self, *arguments: str) -> subprocess.Popen[str]:
        return self.begin("-m", "prefect", *arguments)

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with httpx.Client(transport=Patient()) as client:
            return client.request(method, self.url + path, json=body, headers=self.headers, timeout=20)


def said(process: subprocess.Popen[str], *, fails: bool = False) -> str:
    output, _ = process.communicate(timeout=120)
    assert (process.returncode != 0) is fails, output
    return output


def ask(job: Job, ada: Page) -> None:
    ada.goto(f"{job.demo.web}/catalog?q=nightly")
    ada.get_by_role("link", name="orders/nightly").first.click()
    ada.goto(f"{job.demo.web}/requests/new?item={ada.url.rsplit('/', 1)[1]}:run")
    ada.get_by_label("Why").fill(WHY)
    ada.locator("main form button[type=submit].button-primary").click()
    ada.wait_for_url(re.compile(r"/requests/\d+$"))


def approve(job: Job) -> None:
    chiara = job.sign_in("Chiara")
    chiara.get_by_role("button", name=re.compile("Approve")).first.click()
    expect(chiara.get_by_role("heading", level=1)).to_have_text("Nothing waits for you")
    chiara.context.close()


def test_prefect_answers_nobody_but_the_gate(job: Job) -> None:
    """Every route that it describes, tried without the gate: only how it is, is told to anybody."""
    base = f"http://127.0.0.1:{job.demo.ports['PREFECT']}"
    described = httpx.get(f"{base}/openapi.json", timeout=20).json()["paths"]
    answered, tried = {}, 0
    with httpx.Client(base_url=f"{base}/api", timeout=20) as http:
        for template, methods in described.items():
            for method in methods:
                path = re.sub(r"\{[^}]*\}", NO_ID, template)
                status = http.request(method, path, json={} if method in ("post", "patch", "put") else None).status_code
                tried += 1
                if status != 401:
                    answered[f"{method.upper()} {template}"] = status
    assert tried > 150
    assert answered == {"GET /health": 200, "GET /ready": 200}


def test_the_whole_job(job: Job) -> None:
    ada, nightly, backfill = job.sign_in("Ada"), job.deployment("orders/nightly"), job.deployment("orders/backfill")
    ask(job, ada)
    assert job.roles_of_ada() == set()
    approve(job)
    assert within(20, lambda: job.roles_of_ada() == {ROLE})

    ada.goto(f"{job.demo.web}/access")
    ada.locator("main a[href^='/grants/']").first.click()
    ada.wait_for_url(re.compile(r"/grants/\d+$"))
    grant = ada.url
    ada.get_by_role("button", name="Issue a token").click()
    expect(ada.get_by_role("heading", level=1)).to_contain_text("orders/nightly")
    shell = Shell(job, ada.locator("#lines-1").inner_text())
    assert ada.locator("#try").inner_text() == "prefect deployment run 'orders/nightly'"
    theirs = job.prefect(
        "POST", f"/deployments/{backfill}/create_flow_run",
        {"name": SIBLING, "idempotency_key": "guessed", "state": {"type": "COMPLETED"}},
    )  # fmt: skip

    run = _runs_what_was_granted(job, shell, nightly)
    _refused_what_was_not(job, shell, ada, backfill, theirs)
    _steers_and_reads(job, shell, nightly, run)
    _sees_it_in_prefects_ui(job, ada, grant, theirs)

    used = ada.locator("section", has=ada.get_by_role("heading", name="What was done with it"))
    routes = ("POST /api/deployments/{id:uuid}/create_flow_run", "POST /api/logs/filter")

    def counted() -> bool:
        ada.goto(grant)
        return all(used.locator("tr", has_text=route).count() == 1 for route in routes)

    assert within(15, counted), used.inner_text()
    expect(used).to_contain_text("For something else than was granted")
    expect(ada.get_by_role("main")).to_contain_text(re.compile(r"\d+ calls, \d+ refused"))
    ada.get_by_role("button", name=re.compile("done")).click()
    _is_over(job, shell, ada, nightly)
    _is_in_the_record(job, run)


def _runs_what_was_granted(job: Job, shell: Shell, nightly: str) -> str:
    """With the lines from the page. The demo's worker, let in by the gate too, runs it and reports it whole."""
    output = said(shell.prefect("deployment", "run", "orders/nightly", "--param", "source=stripe"))
    found = re.search(r"[0-9a-f-]{36}", output)
    assert found, output
    run = str(UUID(found[0]))
    assert job.prefect("GET", f"/flow_runs/{run}")["deployment_id"] == nightly
    assert within(90, lambda: job.state(run) in ("COMPLETED", "FAILED", "CRASHED"))
    assert job.state(run) == "COMPLETED"
    of_run = {"flow_runs": {"id": {"any_": [run]}}}

    def tasks() -> list[tuple[str, str]]:
        rows = job.prefect("POST", "/task_runs/filter", of_run)
        return sorted((row["name"].rpartition("-")[0], row["state_type"]) for row in rows)

    assert within(20, lambda: tasks() == [("extract", "COMPLETED"), ("load", "COMPLETED")]), tasks()
    logs = {"logs": {"flow_run_id": {"any_": [run]}}}

    def messages() -> list[str]:
        return [row["message"] for row in job.prefect("POST", "/logs/filter", logs)]

    assert within(20, lambda: "reading orders from stripe" in messages()), messages()
    return run


def _refused_what_was_not(job: Job, shell: Shell, ada: Page, backfill: str, theirs: dict[str, Any]) -> None:
    """The sibling, by its name, by its id and by its run's key; the link opens the form, filled in."""
    runs_before = len(job.prefect("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [backfill]}}}))
    output = said(shell.prefect("deployment", "run", "orders/backfill"), fails=True)
    assert SIBLING not in output
    link = re.search(rf"{re.escape(job.demo.web)}/requests/new\?[^\s\"'}}]+", output)
    assert link, output
    ada.goto(link[0])
    expect(ada.get_by_role("main")).to_contain_text("orders/backfill")

    refused = shell.call("POST", f"/deployments/{backfill}/create_flow_run", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "no_grant")
    assert set(refused.json()) == {"detail", "code"}
    ada.goto(re.search(r"http\S+$", refused.json()["detail"])[0])  # type: ignore[index]
    expect(ada.get_by_role("main")).to_contain_text("orders/backfill")
    expect(ada.locator("input[type=radio]:checked[value=run]")).to_have_count(1)

    guessed = shell.call("POST", f"/deployments/{job.deployment('orders/nightly')}/create_flow_run",
                         {"idempotency_key": "guessed"})  # fmt: skip
    assert guessed.status_code == 403
    assert theirs["id"] not in guessed.text
    assert SIBLING not in guessed.text
    for path in (f"/flow_runs/{theirs['id']}", f"/deployments/{backfill}", "/work_pools/adhoc"):
        assert shell.call("GET", path).status_code == 403, path
    assert len(job.prefect("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [backfill]}}})) == runs_before


def _steers_and_reads(job: Job, shell: Shell, nightly: str, run: str) -> None:
    """The rest of the client, all at once: each takes seconds to begin."""
    later = shell.call("POST", f"/deployments/{nightly}/create_flow_run",
                       {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}})  # fmt: skip
    assert later.status_code == 201, later.text
    cancelled = later.json()["id"]
    started = "from prefect.deployments import run_deployment; print(run_deployment('orders/nightly', timeout=0).id)"
    begun = {
        "ls": shell.prefect("flow-run", "ls", "--limit", "50"),
        "logs": shell.prefect("flow-run", "logs", run),
        "cancel": shell.prefect("flow-run", "cancel", cancelled),
        "pools": shell.prefect("work-pool", "ls"),
        "python": shell.begin("-c", started),
    }
    told = {name: said(process) for name, process in begun.items()}
    assert run in told["ls"]
    assert "reading orders from stripe" in told["logs"]
    assert not [(name, word) for name in ("ls", "pools") for word in NOT_HERS if word in told[name]]
    assert "etl" not in told["pools"], "she holds a deployment, not its pool"
    assert within(20, lambda: job.state(cancelled) in ("CANCELLING", "CANCELLED"))
    again = re.findall(r"[0-9a-f-]{36}", told["python"])[-1]
    assert job.prefect("GET", f"/flow_runs/{again}")["deployment_id"] == nightly
    assert within(60, lambda: job.state(again) == "COMPLETED")


def _sees_it_in_prefects_ui(job: Job, ada: Page, grant: str, theirs: dict[str, Any]) -> None:
    """With the portal's session, and no password; what is not hers is on no page and in no answer."""
    heard: dict[str, str] = {}
    failed: list[str] = []

    def hear(answer: Any) -> None:
        if answer.url.startswith(f"{job.demo.gate}/api/"):
            if answer.status >= 400:
                failed.append(f"{answer.status} {answer.request.method} {answer.url}")
            elif answer.request.method != "HEAD":
                with suppress(PlaywrightError):  # of a page that was left meanwhile
                    heard[f"{answer.request.method} {answer.url}"] = answer.text()

    ada.goto(grant)
    ada.get_by_role("link", name="Open Prefect").click()
    ada.wait_for_url(f"{job.demo.gate}/**")
    (cookie,) = (one for one in ada.context.cookies(job.demo.gate) if one["name"] == "__Host-stint-gate")
    assert (cookie["httpOnly"], cookie["secure"], cookie["path"]) == (True, True, "/")
    ada.on("requestfinished", lambda request: hear(request.response()))
    for path, shown in (
        ("/v2/dashboard", "Flow Runs"), ("/v2/runs", "orders"), ("/v2/deployments", "nightly"), ("/v2/flows", "orders"),
        ("/v2/work-pools", "Work Pools"), ("/dashboard", "Flow Runs"), ("/runs", "orders"), ("/deployments", "nightly"),
    ):  # fmt: skip
        ada.goto(f"{job.demo.gate}{path}")
        expect(ada.locator("body")).to_contain_text(shown, timeout=20_000)
        ada.wait_for_timeout(400)
        text = ada.inner_text("body")
        assert not [word for word in NOT_HERS if word in text], path
        expect(ada.locator("input[type=password]")).to_have_count(0)
    of_the_pool = f"403 GET {job.demo.gate}/api/work_pools/etl"  # which the UI asks for, and she does not hold
    assert [one for one in failed if not one.startswith(of_the_pool)] == []
    assert len(heard) > 20
    words = {f'"{word}"' for word in (*NOT_HERS, theirs["id"], theirs["deployment_id"])}
    leaks = [(call, word) for call, text in heard.items() for word in words if word in text]
    assert leaks == []

    answer = ada.goto(f"{job.demo.gate}/api/flow_runs/{theirs['id']}/logs/download")
    assert answer is not None
    assert answer.status == 403
    expect(ada.get_by_role("heading", level=1)).to_contain_text("You do not have view")
    assert SIBLING not in ada.content()
    ada.get_by_role("link", name="Request access").click()
    ada.wait_for_url(f"{job.demo.web}/requests/new?**")
    expect(ada.get_by_role("main")).to_contain_text("orders/backfill")


def _is_over(job: Job, shell: Shell, ada: Page, nightly: str) -> None:
    """Given back: refused at once, by token and by session; no role; the token is dead for what anybody may do, too."""
    dead = [("POST", f"/deployments/{nightly}/create_flow_run"), ("GET", "/admin/version"), ("GET", "/csrf-token")]
    assert within(5, lambda: shell.call(*dead[0], {}).status_code in (401, 403))
    for method, path in dead:
        refused = shell.call(method, path, {} if method == "POST" else None)
        assert refused.status_code in (401, 403), (path, refused.text)
    assert within(20, lambda: job.roles_of_ada() == set())
    there = ada.context.request.post(f"{job.demo.gate}/api/flow_runs/filter", data={}, headers=_same_origin(job))
    assert (there.status, there.json()) == (200, [])

    ada.goto(job.demo.web)
    ada.evaluate("document.querySelector('form[action=\"/signout\"]').submit()")
    ada.wait_for_url(re.compile("signin|logout"))

    def let_in() -> bool:
        answer = ada.context.request.post(f"{job.demo.gate}/api/flow_runs/filter", data={}, headers=_same_origin(job))
        return answer.status == 200

    assert within(5, lambda: not let_in()), "who signs out at the portal is out of Prefect"


def _same_origin(job: Job) -> dict[str, str]:
    return {"Origin": job.demo.gate, "Sec-Fetch-Site": "same-origin"}


def _is_in_the_record(job: Job, run: str) -> None:
    olga = job.sign_in("Olga")
    olga.goto(f"{job.demo.web}/history")
    row = olga.get_by_role("main").locator("li, tr", has_text="orders/nightly").first
    expect(row).to_contain_text("Ada Okafor")
    olga.goto(f"{job.demo.web}/audit")
    record = olga.get_by_role("main")
    for told in ("gave the role", "took the role back"):
        expect(record.locator("li, tr", has_text=told).first).to_contain_text(f"{ROLE} of Ada Okafor")
    dsn = f"postgresql://stint_app:{job.demo.secret('stint_app')}@127.0.0.1:{job.demo.ports['POSTGRES']}/stint"
    with psycopg.connect(dsn) as app:
        events = app.execute("SELECT verb, payload FROM grants_auditevent").fetchall()
    assert [verb for verb, payload in events if verb == "gate.run_started" and run.encode() in bytes(payload)]
    verbs = {verb for verb, _ in events}
    steps = "request.asked request.approved binding.given token.issued ticket.made gate.entered gate.refused"
    assert {*steps.split(), "grant.given_back", "binding.taken", "subject.signed_out"} <= verbs, verbs
    assert job.demo.manage("verify_audit").returncode == 0
