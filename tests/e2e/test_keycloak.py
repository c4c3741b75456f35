"""`make demo KEYCLOAK=1`: real login page, real directory, real roles, real tokens; judged by Keycloak's own admin."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.demo import keycloak as server
from portal.demo.realm import PASSWORD
from portal.embedded import EmbeddedError
from tests.e2e.running import ROOT, Running, fresh
from tests.real.keycloak import Admin, Told, sign_in
from tests.real.prefect import missing

pytestmark = [pytest.mark.e2e, pytest.mark.real, pytest.mark.xdist_group("keycloak-demo")]
ROLE = "prefect-demo:deployment:orders/nightly:run"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    try:
        server.template()
    except EmbeddedError as error:
        missing(f"Keycloak ({error})")
    running = Running(tmp_path_factory.mktemp("keycloak-demo") / "d", STINT_DEMO_KEYCLOAK="1")
    running.start()
    yield running
    running.end()
    assert running.left() == []


@pytest.fixture
def admin(demo: Running) -> Iterator[Admin]:
    one = Admin(f"http://localhost:{demo.ports['OIDC']}", "stint")
    yield one
    one.http.close()


def type_in(page: Page, name: str, password: str) -> None:
    """Keycloak's own page."""
    page.get_by_label("Username or email").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign In").click()


def as_(browser: Browser, demo: Running, name: str) -> Page:
    page = fresh(browser)
    page.goto(demo.web)
    page.get_by_role("link", name="Sign in").click()
    type_in(page, name, PASSWORD)
    page.wait_for_url(f"{demo.web}/")
    return page


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def told_of_ada(demo: Running, admin: Admin) -> Told:
    return sign_in(admin.issuer, secret=demo.secret("client"), portal=demo.web, username="ada")


def test_the_role_comes_with_the_approval_and_goes_when_it_is_given_back(
    demo: Running, admin: Admin, chromium: Browser
) -> None:
    ada, chiara = as_(chromium, demo, "ada"), as_(chromium, demo, "chiara")
    ada.goto(f"{demo.web}/catalog?q=nightly")
    ada.get_by_role("link", name="orders/nightly").first.click()
    ada.goto(f"{demo.web}/requests/new?item={ada.url.rsplit('/', 1)[1]}:run")
    expect(ada.get_by_role("main")).to_contain_text("Chiara Lang")
    ada.get_by_label("Why").fill("The nightly run died on the Adyen schema change; the fix is merged.")
    ada.locator("main form button[type=submit].button-primary").click()
    ada.wait_for_url(re.compile(r"/requests/\d+$"))
    me = admin.user("ada")
    assert admin.roles(me) == set()
    assert "roles" not in told_of_ada(demo, admin).id_token

    chiara.goto(demo.web)
    chiara.get_by_role("button", name=re.compile("Approve")).first.click()
    expect(chiara.get_by_role("heading", level=1)).to_have_text("Nothing waits for you")
    assert within(20, lambda: admin.roles(me) == {ROLE})
    told = told_of_ada(demo, admin)
    assert told.id_token["roles"] == [ROLE]
    assert told.userinfo["roles"] == [ROLE]
    assert told.id_token["groups"] == ["/team-ingest"]
    ada.goto(f"{demo.web}/access")
    ada.locator("main a[href^='/grants/']").first.click()
    mine = ada.url
    standing = ada.locator("section", has=ada.get_by_role("heading", name="Where it really ends"))
    expect(standing).to_contain_text("At Keycloak")
    expect(standing).to_contain_text(re.compile(r"Role given\s+\d+\.\d s after approval"))
    expect(standing).to_contain_text(ROLE)

    ada.get_by_role("button", name=re.compile("done")).click()
    assert within(20, lambda: admin.roles(me) == set())
    told = told_of_ada(demo, admin)
    assert "roles" not in told.id_token
    assert "roles" not in told.userinfo
    assert within(10, lambda: "Being taken back" not in ada.goto(mine).text())  # type: ignore[union-attr]
    expect(standing).to_contain_text(re.compile(r"Role taken back\s+\d+\.\d s after the end"))

    olga = as_(chromium, demo, "olga")
    olga.goto(f"{demo.web}/audit")
    for said in ("gave the role", "took the role back"):
        expect(olga.get_by_role("main").locator("li, tr", has_text=said).first).to_contain_text(f"{ROLE} of Ada Okafor")


def test_the_account_has_exactly_its_rights(demo: Running) -> None:
    done = demo.manage("idp", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "manage-users" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_nobody_else_on_the_network_can_reach_it(demo: Running) -> None:
    """Least of all Keycloak, whose admin has a known password."""
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert "0000000000000000FFFF00000100007F" in demo.listens_on()  # java's
    assert demo.listens_on() <= loopback


def test_a_wrong_password_signs_nobody_in(demo: Running, chromium: Browser) -> None:
    page = fresh(chromium)
    page.goto(demo.web)
    page.get_by_role("link", name="Sign in").click()
    type_in(page, "ben", "not-his-password")
    expect(page.get_by_text("Invalid username or password.")).to_be_visible()
    assert page.url.startswith(f"http://localhost:{demo.ports['OIDC']}/realms/stint/")
    page.goto(demo.web)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to Stint")
    expect(page.get_by_role("main")).to_contain_text("Keycloak")
    olga = as_(chromium, demo, "olga")
    olga.goto(f"{demo.web}/audit?verb=subject.signed_in&actor=Ben")
    expect(olga.get_by_role("main")).not_to_contain_text("Ben Ruiz signed in")


def test_sign_out_ends_the_session_at_keycloak(demo: Running, chromium: Browser) -> None:
    page = as_(chromium, demo, "tomasz")
    page.context.clear_cookies(domain="127.0.0.1")
    page.goto(demo.web)
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url(f"{demo.web}/")  # the session at Keycloak was enough
    page.evaluate("document.querySelector('form[action=\"/signout\"]').submit()")
    page.wait_for_url(f"{demo.web}/signin")
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()


def test_a_folder_is_one_providers(demo: Running) -> None:
    other = subprocess.run(
        [sys.executable, "-m", "portal.demo"], cwd=ROOT, env=demo.env | {"STINT_DEMO_KEYCLOAK": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert other.returncode == 1
    assert "another identity provider (keycloak)" in other.stderr


def test_killed_hard_it_heals_with_its_java_and_goes_on_with_the_data(
    demo: Running, admin: Admin, chromium: Browser
) -> None:
    """SIGKILL of kc.sh and of the supervisor: java is an orphan that has the port. Then a start, then Ctrl-C."""
    before = admin.user("ada")
    os.kill(int((demo.folder / "pids/keycloak").read_text().partition("\n")[0]), signal.SIGKILL)
    demo.kill()
    demo.start()
    assert "keycloak" in demo.output.partition("cleared")[2].partition("\n")[0]
    assert admin.user("ada") == before
    as_(chromium, demo, "ada").get_by_role("link", name="History").first.click()
    demo.stop()
    assert demo.process.returncode == 0, demo.output
    assert demo.left() == []
