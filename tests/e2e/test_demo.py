"""The demo as its users have it: one command, real parts, the whole job in the browser, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from portal.demo.process import command_of
from tests.e2e.running import ROOT, Running, fresh

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("demo")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("demo")  # under a folder of mode 0700, like many a home
    running = Running(folder / "d")
    running.start()
    yield running
    running.end()


def as_(browser: Browser, demo: Running, name: str) -> Page:
    """A browser of this person's own, signed in through the provider's page."""
    page = fresh(browser)
    page.goto(demo.web)
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name=re.compile(f"^{name}")).click()
    page.wait_for_url(f"{demo.web}/")
    return page


def test_the_whole_job(demo: Running, chromium: Browser) -> None:
    """Sign in → find → ask → mail → approve → countdown → I'm done → history → the record is whole."""
    ada, chiara = as_(chromium, demo, "Ada"), as_(chromium, demo, "Chiara")
    ada.goto(f"{demo.web}/catalog?q=nightly")
    ada.get_by_role("link", name="orders/nightly").first.click()
    ada.goto(f"{demo.web}/requests/new?item={ada.url.rsplit('/', 1)[1]}:run")
    expect(ada.get_by_role("main")).to_contain_text("Chiara Lang")
    expect(ada.get_by_role("main")).to_contain_text("deployments-run")
    ada.get_by_label("Why").fill("too short")
    ada.locator("main form button[type=submit].button-primary").click()
    expect(ada.get_by_label("Why")).to_have_value("too short")
    ada.get_by_label("Why").fill("The nightly run died on the Adyen schema change; the fix is merged.")
    ada.locator("main form button[type=submit].button-primary").click()
    ada.wait_for_url(re.compile(r"/requests/\d+$"))
    expect(ada.get_by_role("main")).to_contain_text("Pending")

    told = demo.mails("chiara@example.org")
    assert told
    assert ada.url in told[0]
    chiara.goto(demo.web)
    expect(chiara.get_by_role("heading", level=1)).to_have_text(re.compile("^One request waits"))
    chiara.get_by_role("button", name=re.compile("Approve")).first.click()
    expect(chiara.get_by_role("heading", level=1)).to_have_text("Nothing waits for you")

    ada.goto(f"{demo.web}/access")
    expect(ada.get_by_role("main")).to_contain_text("orders/nightly")
    expect(ada.get_by_role("main")).to_contain_text(re.compile(r"\d+ min left"))
    assert demo.mails("ada@example.org")
    ada.get_by_role("button", name=re.compile("done")).first.click()
    expect(ada.get_by_role("main")).not_to_contain_text(re.compile(r"\d+ min left"))

    olga = as_(chromium, demo, "Olga")
    olga.goto(f"{demo.web}/history")
    expect(olga.get_by_role("main")).to_contain_text("orders/nightly")
    olga.goto(f"{demo.web}/audit")
    olga.get_by_role("button", name=re.compile("[Vv]erify")).click()
    expect(olga.get_by_role("main")).to_contain_text(re.compile("whole", re.IGNORECASE))
    assert demo.manage("verify_audit").returncode == 0

    oscar = as_(chromium, demo, "Oscar")
    assert oscar.goto(demo.web).status == 200  # type: ignore[union-attr]
    assert oscar.goto(f"{demo.web}/requests/1").status == 404  # type: ignore[union-attr]


def test_sign_out_is_everywhere(demo: Running, chromium: Browser) -> None:
    page = as_(chromium, demo, "Ben")
    page.evaluate("document.querySelector('form[action=\"/signout\"]').submit()")
    page.wait_for_url(f"{demo.web}/signin")
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Who are you?")


def test_a_deployment_really_runs(demo: Running) -> None:
    with demo.prefect() as prefect:
        wanted = {"deployments": {"name": {"any_": ["finance"]}}}
        (deployment,) = prefect.post("/deployments/filter", json=wanted).raise_for_status().json()
        run = prefect.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).raise_for_status().json()
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            state = prefect.get(f"/flow_runs/{run['id']}").raise_for_status().json()["state_type"]
            if state in ("COMPLETED", "FAILED", "CRASHED"):
                break
            time.sleep(0.5)
    assert state == "COMPLETED"


def test_the_record_is_watched_and_heads_are_exported(demo: Running) -> None:
    head = json.loads((demo.folder / "heads.jsonl").read_text().splitlines()[-1])
    assert head["seq"] >= 0
    metrics = httpx.get(f"{demo.web}/metrics", headers={"Authorization": f"Bearer {demo.secret('metrics')}"})
    assert metrics.status_code == 200
    assert httpx.get(f"{demo.web}/metrics", headers={"Authorization": "Bearer wrong"}).status_code in (
        401,
        403,
    )


def test_a_frozen_valkey_delays_no_click(demo: Running, chromium: Browser) -> None:
    """The web process never publishes; what waits is the sync and the mail."""
    page = as_(chromium, demo, "Ben")
    pid = int((demo.folder / "pids/valkey").read_text().partition("\n")[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        page.goto(f"{demo.web}/catalog?q=backfill")
        page.get_by_role("link", name="orders/backfill").first.click()
        page.goto(f"{demo.web}/requests/new?item={page.url.rsplit('/', 1)[1]}:view")
        page.get_by_label("Why").fill("A look at last night's runs of the backfill.")
        page.locator("main form button[type=submit].button-primary").click()
        page.wait_for_url(re.compile(r"/(requests|grants)/\d+"))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_database_refuses_the_app(demo: Running) -> None:
    dsn = f"postgresql://stint_app:{demo.secret('stint_app')}@127.0.0.1:{demo.ports['POSTGRES']}/stint"
    with psycopg.connect(dsn, autocommit=True) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("UPDATE grants_auditevent SET actor = 'S-1'")


def test_a_taken_port_is_named(demo: Running) -> None:
    """A second demo on the first one's ports."""
    second = subprocess.run(
        [sys.executable, "-m", "portal.demo"], cwd=ROOT, env=demo.env | {"STINT_DEMO_DIR": f"{demo.folder}-2"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"Port {demo.ports['WEB']} is taken" in second.stderr
    assert "STINT_DEMO_WEB_PORT" in second.stderr


def test_killed_hard_it_heals_and_goes_on_with_the_data(demo: Running) -> None:
    """SIGKILL of the supervisor, then a start, then Ctrl-C: the record is still there, no process is."""
    dsn = f"postgresql://stint_app:{demo.secret('stint_app')}@127.0.0.1:{demo.ports['POSTGRES']}/stint"
    with psycopg.connect(dsn) as app:
        before = app.execute("SELECT seq, hash FROM grants_auditevent ORDER BY seq").fetchall()
    assert before
    demo.kill()
    demo.start()
    pids = demo.pids()
    assert len(pids) == 8
    with psycopg.connect(dsn) as app:
        after = app.execute("SELECT seq, hash FROM grants_auditevent ORDER BY seq").fetchall()
    assert after[: len(before)] == before
    demo.stop()
    assert demo.process.returncode == 0, demo.output
    time.sleep(1)
    assert [pid for pid in pids if command_of(pid)] == []
    assert demo.left() == []
