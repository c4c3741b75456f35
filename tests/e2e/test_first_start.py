"""docs/operations.md, "First start", typed as it stands there: it ends with a sign-in and a grant that opens Prefect.

nginx with TLS by a private authority, a real Keycloak and a real Prefect; two webs, two workers, two gates. What has to
be different on this machine is a table in first_start.py.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any, override

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from portal.demo import keycloak as server
from portal.demo.process import Parts, base_env, listens
from portal.demo.realm import PASSWORD
from portal.embedded import EmbeddedError, Postgres, valkey_command
from tests.e2e.first_start import HOSTS, Machine, blocks, nginx, uv
from tests.private_ca import Authority
from tests.real.keycloak import Realm
from tests.real.prefect import PrefectServer, free_port, missing, running_prefect
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.xdist_group("first-start"),
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1", *HOSTS.values()]),
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine on Linux alone"),
]
AUTH = "stint:what-only-the-gate-knows-0123456789"
WHY = "The nightly run died on the Adyen schema change; the fix is merged."
GATE_HOST = HOSTS["prefect.example.org"]
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}


class KeycloakBehind(server.Keycloak):
    """As one behind a proxy is told to start."""

    public = ""

    @override
    def command(self) -> list[str]:
        other = [one for one in super().command() if not one.startswith("--hostname=")]
        return [*other, f"--hostname={self.public}", "--proxy-headers=xforwarded"]


@dataclass
class Site:
    """What the page ends with, and who judges it."""

    machine: Machine
    parts: Parts
    realm: Realm
    prefect: PrefectServer
    trust: ssl.SSLContext
    deployments: dict[str, str]  # ids by name
    ends: ExitStack

    @property
    def portal(self) -> str:
        return self.machine.url("stint.example.org")

    @property
    def gate(self) -> str:
        return self.machine.url("prefect.example.org")

    def person(self, name: str) -> Person:
        """Signed in, by Keycloak's own page."""
        http = self.ends.enter_context(
            httpx.Client(verify=self.trust, trust_env=False, follow_redirects=True, timeout=30)
        )
        page = http.get(f"{self.portal}/oidc/start").raise_for_status()
        assert page.url.host == HOSTS["sso.example.org"], page.url
        (action,) = re.findall(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', page.text)
        home = http.post(html.unescape(action), data={"username": name, "password": PASSWORD})
        assert (home.status_code, str(home.url)) == (200, f"{self.portal}/"), f"{home.url}\n{home.text[:3000]}"
        return Person(self, http)

    def kill(self, *names: str) -> None:
        """With its children, as systemd does: granian's would go on serving."""
        for name in names:
            process = self.parts.running.pop(name)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Person:
    site: Site
    http: httpx.Client

    def page(self, path: str) -> str:
        return self.http.get(f"{self.site.portal}{path}").raise_for_status().text

    def send(self, form_on: str, path: str, **typed: str) -> httpx.Response:
        """The form on this page, to this path."""
        page = self.page(form_on)
        hidden = dict(re.findall(r'<input type="hidden" name="(csrfmiddlewaretoken|key)" value="([^"]*)"', page))
        url = f"{self.site.portal}{path}"
        return self.http.post(url, data=hidden | typed, headers={"Referer": url}).raise_for_status()

    def run(self, deployment: str) -> int:
        """What Prefect, or the gate before it, answers to a run of it."""
        path = f"/api/deployments/{self.site.deployments[deployment]}/create_flow_run"
        return self.http.post(f"{self.site.gate}{path}", json={}, headers={"Origin": self.site.gate}).status_code

    def hears(self) -> dict[str, Any]:
        """The first event of deployments that they may see, over the socket that Prefect's pages open."""
        cookies = "; ".join(f"{one.name}={one.value}" for one in self.http.cookies.jar if one.domain == GATE_HOST)
        url = f"{self.site.gate.replace('https', 'wss', 1)}/api/events/out"
        told = {"Cookie": cookies, "Origin": self.site.gate}
        with connect(
            url, ssl=self.site.trust, additional_headers=told, subprotocols=[Subprotocol("prefect")]
        ) as socket:
            socket.send(json.dumps({"type": "auth", "token": None}))
            assert json.loads(socket.recv(10)) == {"type": "auth_success"}
            wanted = {"event": {"prefix": ["prefect.deployment."]}}
            socket.send(json.dumps({"type": "filter", "filter": wanted, "backfill": True}))
            event: dict[str, Any] = json.loads(socket.recv(10))["event"]
            return event


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    tools = {"nginx": nginx(), "uv": str(uv())}
    folder = Path(tempfile.mkdtemp(prefix="stint-first-"))
    folder.chmod(0o755)  # PostgreSQL runs as nobody when this is root
    (folder / "logs").mkdir()
    parts = Parts(folder)
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ends.callback(parts.stop)
        yield _started(folder, parts, tools, ends)


def _started(folder: Path, parts: Parts, tools: dict[str, str], ends: ExitStack) -> Site:
    """What the page takes to be there, then the page."""
    keycloak = KeycloakBehind(folder / "keycloak", free_port())
    try:
        keycloak.prepare()
    except EmbeddedError as error:
        missing(f"Keycloak ({error})")
    machine = Machine(folder, parts, keycloak=f"http://127.0.0.1:{keycloak.port}", **tools)
    keycloak.public = machine.url("sso.example.org")
    parts.start("keycloak", keycloak.command(), server.environment() | server.QUICK)
    parts.start("valkey", valkey_command(int(machine.ports["6379"]), folder), base_env())
    with ThreadPoolExecutor(1) as aside:
        home = folder / "prefect"
        home.mkdir()
        auth = {"PREFECT_SERVER_API_AUTH_STRING": AUTH, "PREFECT_API_AUTH_STRING": AUTH}
        starting = aside.submit(ends.enter_context, running_prefect(home, **auth))
        postgres = Postgres(folder / "postgres", int(machine.ports["5432"])).start(log=parts.log("postgres"))
        assert postgres.process
        parts.keep("postgres", postgres.process)
        prefect = starting.result()
    nightly, backfill = prefect.do(
        {"do": "deployment", "flow": "orders", "name": "nightly"},
        {"do": "deployment", "flow": "orders", "name": "backfill"},
    )
    parts.wait("keycloak", keycloak.ready, server.READY_SECONDS)
    parts.wait("valkey", listens(int(machine.ports["6379"])))
    realm = Realm(f"http://127.0.0.1:{keycloak.port}", portal=machine.url("stint.example.org"))
    ends.callback(realm.http.close)
    psql = Path(str(postgres.process.args[0])).with_name("psql")  # type: ignore[index]
    machine.known |= {
        "realm": realm.name,
        "prefect": prefect.url.removesuffix("/api"),
        "psql": f"{psql} '{postgres.superuser}'",
    }
    authority = Authority(folder)
    _follow(machine, realm, authority)
    trust = ssl.create_default_context(cafile=str(authority.file))
    return Site(machine, parts, realm, prefect, trust, {"nightly": nightly, "backfill": backfill}, ends)


def _follow(machine: Machine, realm: Realm, authority: Authority) -> None:
    """The page, block by block; after the first, what it says comes from elsewhere."""
    machine.distribution()
    machine.unpack()
    first, *others = blocks()
    machine.follow(first)
    etc = machine.folder / "etc"
    for name, secret in (
        ("oidc_client", realm.client_secret),
        ("stint_provisioner", realm.provisioner_secret),
        ("prefect", AUTH),
    ):
        (etc / "stint/secrets" / name).unlink(missing_ok=True)
        (etc / "stint/secrets" / name).write_text(secret)
    shutil.copy(authority.file, etc / "stint/private-ca.pem")
    names = list(HOSTS.values())
    authority.server(*names)  # key and certificate in one file
    for name in ("stint.pem", "stint.key"):
        shutil.copy(authority.folder / f"{names[0]}.pem", etc / "nginx" / name)
    shutil.copy(machine.folder / "source/deploy/nginx/keycloak.conf", etc / "nginx/conf.d")
    for block in others:
        machine.follow(block)


def test_it_ends_with_a_sign_in_and_a_grant_that_opens_prefect(site: Site) -> None:
    for name, path in (("stint.example.org", "/readyz"), ("prefect.example.org", "/api/health")):
        with httpx.Client(verify=site.trust, trust_env=False) as http:
            until(lambda: http.get(f"{site.machine.url(name)}{path}").status_code == 200, lambda: f"{name}{path}")  # noqa: B023
    with httpx.Client(auth=("stint", "guessed")) as past_the_gate:
        assert past_the_gate.get(f"{site.prefect.url}/flow_runs/count").status_code == 401

    ada, chiara, priya = site.person("ada"), site.person("chiara"), site.person("priya")
    for process in (f"gate {gethostname()}-1", f"gate {gethostname()}-2"):
        until(lambda: process in priya.page("/status"), lambda: f"{process} is there")  # noqa: B023
    found = re.search(r'href="/catalog/(\d+)"[^>]*>[^<]*orders/nightly', ada.page("/catalog?q=nightly"))
    assert found, "the sync found the deployment"
    form = f"/requests/new?item={found[1]}:run"
    assert ada.run("nightly") == 401
    asked = ada.send(form, "/requests/new", item=found[1], length="30", reason=WHY, do="send", **{f"level-{found[1]}": "run"})  # fmt: skip
    assert re.fullmatch(rf"{site.portal}/requests/\d+", str(asked.url)), asked.text[:3000]
    # One of each is gone; the other goes on.
    site.kill("stint-web@1", "stint-worker@1", "stint-gate@2")
    chiara.send(asked.url.path, f"{asked.url.path}/approve")
    page = ada.http.get(f"{site.gate}/", headers=PAGE)
    assert (page.status_code, page.url.host) == (200, HOSTS["prefect.example.org"]), page.text[:3000]
    assert "Prefect" in page.text
    assert ada.run("nightly") == 201
    assert ada.run("backfill") == 403
    me = site.realm.user("ada")
    until(lambda: bool(site.realm.roles(me)), lambda: "the other worker gives the role at Keycloak")
    assert site.realm.roles(me) == {"prefect-prod:deployment:orders/nightly:run"}
    for _ in range(4):  # nginx asks one after the other
        ada.page("/access")
        assert ada.run("nightly") == 201
    assert ada.hears()["resource"]["prefect.resource.name"] == "nightly"  # by an upgrade, through nginx

    # And the other way round, as while it is updated.
    site.machine.systemctl("start", "stint-web@1", "stint-gate@2")
    until(lambda: site.machine.answers("8001") and site.machine.answers("4292"), lambda: "they are back")
    site.kill("stint-web@2", "stint-gate@1")
    for _ in range(4):
        ada.page("/access")
        assert ada.run("nightly") == 201
