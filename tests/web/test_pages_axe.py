"""Every page in a real browser: axe in both schemes and at phone width, no sideways scroll, a quiet console.

SHOTS=folder keeps a picture of each.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.test.testcases import QuietWSGIRequestHandler, ThreadedWSGIServer
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from pytest_django import Settings

from accounts.idp import default
from accounts.models import IdP, Subject
from grants import clock
from grants.adapters.errors import Unavailable
from grants.audit import Verb, record
from grants.catalog.levels import Key, Level
from grants.catalog.models import Connection
from grants.gate.decision.types import Ask, Code, Refusal
from grants.gate.doors.refusals import Context, render
from grants.gate.prefect.kind import PREFECT
from grants.identity.directory import sync_directory
from grants.lifecycle import decide
from grants.lifecycle.models import Grant, Request
from grants.provisioning.reconcile import reconcile
from grants.tokens import issue
from tests.cast import Cast
from tests.conftest import connect
from tests.identity.test_sync import Stub
from tests.provisioning.fake import FakeIdP
from tests.tokens.scene import asks_for, working
from tests.web.scene import busy_day

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SHOTS = os.environ.get("SHOTS")
VIEWS = {"light": ("light", 1360, 900), "dark": ("dark", 1360, 900), "phone": ("light", 390, 844)}
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "preload": False,
}

OK = 200

type Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium: apt-get install chromium, or set CHROMIUM")
        pytest.skip("no Chromium: apt-get install chromium, or set CHROMIUM")
    # Playwright runs a loop in this thread, which Django takes for async code.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server(commits: None, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The portal as it is served: files collected, named by content, sent by WhiteNoise."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
    call_command("collectstatic", interactive=False, verbosity=0)
    httpd = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    httpd.set_app(WSGIHandler())
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def scene(commits: None, cast: Cast) -> Cast:
    busy_day(cast)
    return cast


@pytest.fixture(params=VIEWS)
def look(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visit(browser: Browser, server: str, look: str) -> Iterator[Open]:
    scheme, width, height = VIEWS[look]
    contexts = []

    def open_as(subject: Subject | None, *, script: bool = True) -> Page:
        options: Any = {"color_scheme": scheme, "viewport": {"width": width, "height": height}}
        context = browser.new_context(
            base_url=server,
            timezone_id="Europe/Berlin",
            has_touch=look == "phone",
            java_script_enabled=script,
            **options,
        )
        contexts.append(context)
        if subject:
            client = Client()
            client.force_login(subject)
            name = django_settings.SESSION_COOKIE_NAME
            context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": server}])
        return context.new_page()

    yield open_as
    for context in contexts:
        context.close()


def check(page: Page, address: str, look: str, label: str, *, status: int = OK) -> None:
    said: list[str] = []
    page.on(
        "console",
        lambda message: said.append(message.text) if message.type == "error" and status == OK else None,
    )
    page.on("pageerror", lambda error: said.append(str(error)))
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == status, address
    judge(page, look, label)
    assert said == []


def judge(page: Page, look: str, label: str) -> None:
    """What is on the screen."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{label}-{look}.png", full_page=True)
    found = Axe().run(page, options=RULES).response["violations"]
    told = [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found
        for node in one["nodes"][:3]
    ]
    assert told == [], f"{label} {look}"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{label} scrolls {wide} px sideways"


def test_every_page_is_accessible(scene: Cast, visit: Open, look: str) -> None:
    asked = scene.ben.requests_made.order_by("-pk")[0]
    grant = Grant.objects.filter(beneficiary=scene.ada)[0]
    pages = {
        "home": (scene.ada, "/"),
        "home-approver": (scene.chiara, "/"),
        "home-admin": (scene.priya, "/"),
        "catalog": (scene.ada, "/catalog?connection=prefect-prod"),
        "catalog-nothing": (scene.ada, "/catalog?q=ordrs-nigtly"),
        "resource": (scene.ada, f"/catalog/{scene.deployment.pk}"),
        "ask": (scene.ben, f"/requests/new?item={scene.deployment.pk}:view"),
        "ask-several": (
            scene.ben,
            f"/requests/new?item={scene.deployment.pk}:view&item={scene.pool.pk}:manage&find=orders",
        ),
        "ask-nobody": (scene.ada, f"/requests/new?item={scene.orphan.pk}"),
        "ask-empty": (scene.ada, "/requests/new"),
        "settings": (scene.ada, "/settings"),
        "request": (scene.chiara, f"/requests/{asked.pk}"),
        "inbox": (scene.chiara, "/inbox"),
        "access": (scene.ada, "/access"),
        "grant": (scene.ada, f"/grants/{grant.pk}"),
        "history": (scene.priya, "/history"),
        "audit": (scene.priya, "/audit"),
        "connections": (scene.priya, "/connections"),
        "policy": (scene.priya, "/policy"),
        "status": (scene.priya, "/status"),
    }
    opened: dict[int, Page] = {}
    for label, (subject, address) in pages.items():
        page = opened.get(subject.pk) or opened.setdefault(subject.pk, visit(subject))
        check(page, address, look, label)
    stranger = visit(None)
    check(stranger, "/signin", look, "signin")
    check(stranger, "/nothing/here", look, "not-found", status=404)


def test_what_opens_the_gate_is_accessible(scene: Cast, visit: Open, look: str) -> None:
    """Tokens, shown and listed with what was done with them; machines; and the gate's own page."""
    with transaction.atomic():
        Connection.objects.filter(pk=scene.connection.pk).update(host="prefect.example.org")
        record(Verb.CONNECTION_APPLIED, by="test", on=[scene.connection])
    works, runs = working(scene), Grant.objects.filter(beneficiary=scene.ada)[0]
    machine = works.beneficiary
    asks_for(scene, machine, by=scene.ada)
    used = issue.issue(runs, by=scene.ada).credential
    issue.revoke(issue.issue(runs, by=scene.ada).credential, by=scene.ada)
    counts = [("POST /api/deployments/{id:uuid}/create_flow_run", "ok", 3), ("GET /api/flow_runs/{id:uuid}", "ok", 12),
              ("GET /api/flow_runs/{id:uuid}", "no_grant", 2), ("WS /api/events/in", "key_only", 1)]  # fmt: skip
    rows = [{"minute": clock.now().isoformat(), "gate": "g", "credential_id": used.pk, "route": route,
             "code": code, "n": n} for route, code, n in counts]  # fmt: skip
    with connect("stint_gate") as gate:
        gate.execute("SELECT gate_use(%s)", [json.dumps(rows)])
    page = visit(scene.ada)
    for label, address in (
        ("grant-tokens", f"/grants/{runs.pk}"),
        ("grant-machine", f"/grants/{works.pk}"),
        ("services", "/services"),
        ("service", f"/services/{machine.pk}"),
        ("ask-for", f"/requests/new?item={scene.pool.pk}:work&for={machine.pk}"),
    ):
        check(page, address, look, label)
    page.goto(f"/grants/{runs.pk}")
    page.get_by_role("button", name="Issue a token").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your token")
    judge(page, look, "token")
    lacks = Ask((Key("prefect-prod", "deployment", "d"),), Level.RUN, ("deployment", "orders/backfill"))
    for label, refusal in (("refused", Refusal(403, Code.NO_GRANT, lacks)), ("trouble", Refusal(503, Code.STALE))):
        context = Context(
            portal="https://stint.example.org",
            method="GET",
            path="/api/flow_runs/x/logs/download",
            things=PREFECT.things,
        )
        status, headers, body = render(refusal, html=True, context=context)
        page.route(f"**/{label}", partial(answer_with, status=status, headers=headers, body=body))
        check(page, f"/{label}", look, label, status=status)


def answer_with(route: Route, *, status: int, headers: dict[str, str], body: bytes) -> None:
    route.fulfill(status=status, headers=headers, body=body)


def test_roles_in_every_state_are_accessible(
    scene: Cast, visit: Open, look: str, at: Callable[[datetime | timedelta], datetime], settings: Settings
) -> None:
    """Given, kept, taken back, and overdue while the provider is away, as each who is concerned sees it."""
    provider = FakeIdP()

    def away(*_: str) -> None:
        raise Unavailable("Keycloak cannot be reached.")

    def run() -> None:
        while reconcile(connect=lambda _idp: provider):
            pass

    settings.ENV = settings.ENV.model_copy(update={"idp_kind": "keycloak"})
    IdP.objects.filter(pk=scene.idp.pk).update(kind="keycloak")
    provider.roles["id-ben"].add("prefect-prod:deployment:etl/prod:view")
    at(timedelta(0))
    short, kept, long, late = (
        decide.approve(scene.asks(who, (scene.deployment, level), minutes=minutes), by=scene.chiara).grants.get()
        for who, level, minutes in (
            (scene.oscar, "view", 10), (scene.ben, "view", 10), (scene.oscar, "view", 60), (scene.ben, "run", 10),
        )
    )  # fmt: skip
    at(timedelta(seconds=0.3))
    run()
    check(visit(scene.ben), f"/grants/{late.pk}", look, "grant-given")
    at(timedelta(minutes=11))
    provider.before = away
    reconcile(connect=lambda _idp: provider)
    at(timedelta(seconds=20))
    reconcile(connect=lambda _idp: provider)
    sync_directory(default(), client=Stub(Unavailable("Keycloak cannot be reached.")))
    for label, who, address in (
        ("grant-kept-for-another", scene.oscar, f"/grants/{short.pk}"),
        ("grant-kept", scene.ben, f"/grants/{kept.pk}"),
        ("grant-overdue", scene.ben, f"/grants/{late.pk}"),
        ("grant-shared", scene.chiara, f"/grants/{long.pk}"),
        ("home-overdue", scene.priya, "/"),
        ("status-overdue", scene.olga, "/status"),
        ("connections-away", scene.olga, "/connections"),
        ("connections-away-engineer", scene.ada, "/connections"),
    ):
        check(visit(who), address, look, label)


REASON = "Nodes were replaced at noon and the runs hang."


@pytest.mark.parametrize("look", ["light"], indirect=True)
def test_the_form_answers_while_it_is_filled(scene: Cast, visit: Open) -> None:
    page = visit(scene.oscar)
    page.goto(f"/requests/new?item={scene.deployment.pk}")
    page.get_by_label("Why").fill(REASON)
    expect(page.get_by_text(f"{len(REASON)} so far.")).to_be_visible()
    preview, send = page.locator("#preview"), page.locator("#send button[value=send]")
    expect(preview).to_contain_text("in 30 min")
    page.get_by_label("4 h", exact=True).check(force=True)
    expect(preview).to_contain_text("in 4 h")
    expect(page.locator("#length-240")).to_be_focused()
    # Something else is added; its rules are stricter, and the form says so at once.
    page.get_by_label("Add another").press_sequentially("etl", delay=20)
    page.get_by_role("button", name="Add etl", exact=True).click()
    expect(page.get_by_text("How much of")).to_have_count(2)
    expect(page.get_by_label("Why")).to_have_value(REASON)
    expect(preview).to_contain_text("4 h pools-view")
    page.get_by_label("8 h", exact=True)
    page.get_by_role("button", name="Remove etl", exact=True).click()
    page.locator("#length-until").check(force=True)
    page.get_by_label("Until in Berlin").fill("2020-01-01T10:00")
    page.get_by_label("Why").focus()
    expect(page.locator("#until-error")).to_contain_text("That is over already")
    page.locator("#length-30").check(force=True)
    expect(preview).to_contain_text("in 30 min")
    send.dblclick()
    page.wait_for_url("**/requests/*")
    expect(page.locator("h1")).to_contain_text("You ask to view etl/prod")
    assert Request.objects.filter(requester=scene.oscar).count() == 1


@pytest.mark.parametrize("look", ["light"], indirect=True)
def test_the_form_works_without_a_script(scene: Cast, visit: Open) -> None:
    page = visit(scene.oscar, script=False)
    page.goto("/requests/new")
    page.get_by_label("Find it").fill("etl/prod")
    page.get_by_label("Find it").press("Enter")
    page.get_by_role("button", name="Add etl/prod").click()
    page.get_by_label("Why").fill(REASON)
    page.locator("#length-other").check(force=True)
    page.get_by_label("Minutes").fill("45")
    page.get_by_label("Minutes").press("Enter")  # checks, does not send or drop
    expect(page.locator("#preview")).to_contain_text("in 45 min")
    assert not Request.objects.filter(requester=scene.oscar).exists()
    page.locator("#send button[value=send]").click()
    expect(page.locator("h1")).to_contain_text("You ask to view etl/prod for 45 min")


@pytest.mark.parametrize("look", ["light"], indirect=True)
def test_what_is_left_ticks(scene: Cast, visit: Open) -> None:
    page = visit(scene.ada)
    page.clock.install()
    page.goto("/")
    left = page.locator(".countdown").first
    expect(left).to_have_text("24 min left")
    page.clock.fast_forward("20:30")
    expect(left).to_contain_text("4 min")
    expect(left).to_contain_text("s left")
    page.clock.fast_forward("05:00")
    expect(left).to_have_text("ended")
    expect(left).to_have_attribute("data-state", "ended")


@pytest.mark.parametrize("look", ["phone"], indirect=True)
def test_the_side_opens_as_a_drawer(scene: Cast, visit: Open) -> None:
    page = visit(scene.ada)
    page.goto("/")
    side = page.get_by_role("link", name="My access 2")
    expect(side).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(side).to_be_visible()
    page.locator("summary.me").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
