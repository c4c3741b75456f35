"""Where certificates are a private authority's: one setting, believed for every call, and no call without it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.test import Client as Browser

from accounts import idp
from grants.adapters import trust
from grants.adapters.errors import Unavailable
from grants.adapters.http import Http
from grants.adapters.proxies import proxy_of
from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Upstream
from grants.gate.doors.upstream import Client, Orchestrator, Unanswered
from grants.gate.prefect.kind import PREFECT
from portal.env import BadSettings, read_env, read_gate_env
from portal.env_values import database_with
from tests.accounts.conftest import begin, browser, code_of, op, op_server, signed_in  # noqa: F401 (fixtures)
from tests.accounts.op import Provider
from tests.conftest import SUPERUSER
from tests.gate.loop import run
from tests.portal.test_broker import parts, valkey  # noqa: F401 (fixtures)
from tests.private_ca import Authority, accepting, in_front, mail_server, postgres_hello, proxy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    yield Authority(tmp_path)
    trust.also(None)


@pytest.fixture
def upstream() -> Iterator[int]:
    """Says {"said": …}, in the clear."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"said": self.path}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_sign_in_at_a_provider_with_a_private_certificate(
    op: Provider,  # noqa: F811
    browser: Browser,  # noqa: F811
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = urlsplit(op.issuer).port
    assert there
    with in_front(authority.server("localhost"), there) as port:
        for name, believed, signs_in in (("localhost", None, False), ("127.0.0.1", authority.file, False),
                                         ("localhost", authority.file, True)):  # fmt: skip
            trust.also(believed)
            idp.provider().close()
            idp.provider.cache_clear()
            monkeypatch.setattr(op, "issuer", f"https://{name}:{port}")
            monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"oidc_issuer": op.issuer}))
            if not signs_in:
                assert code_of(browser.get("/oidc/start")) == "PROVIDER_DOWN"
                continue
            asked = begin(browser, op)
            browser.get("/oidc/callback", {"code": "c", "state": asked["state"]})
            assert signed_in(browser)


def test_what_is_wrong_with_a_certificate_is_said(authority: Authority, upstream: int) -> None:
    with in_front(authority.server("localhost"), upstream) as port:

        def ask(host: str) -> object:
            with closing(Http(f"https://{host}:{port}", who="Prefect", tries=1)) as http:
                return http.get("/x")

        with pytest.raises(Unavailable, match=r"certificate of Prefect is not trusted: unable to get local issuer"):
            ask("localhost")
        trust.also(authority.file)
        with pytest.raises(Unavailable, match=r"not trusted: it is for another host\."):
            ask("127.0.0.1")
        assert ask("localhost") == {"said": "/x"}


def test_the_usual_variable_is_honoured(authority: Authority, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    trust.also(None)
    with (
        in_front(authority.server("localhost"), upstream) as port,
        closing(Http(f"https://localhost:{port}", who="Prefect")) as http,
    ):
        assert http.get("/x") == {"said": "/x"}


def test_a_private_authority_is_believed_beside_the_others(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And SSL_CERT_FILE takes the place of the others, as everywhere."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    trust.also(None)
    public = len(trust.context().get_ca_certs())
    trust.also(authority.file)
    assert len(trust.context().get_ca_certs()) == public + 1 > 50
    assert trust.context().verify_mode == trust.made().verify_mode == ssl.CERT_REQUIRED
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder / "none"))
    trust.also(None)
    assert len(trust.context().get_ca_certs()) == 1


@pytest.mark.parametrize("believed", [True, False])
def test_the_gate_before_a_prefect_with_a_private_certificate(
    authority: Authority, upstream: int, believed: bool
) -> None:
    trust.also(authority.file if believed else None)

    async def ask(port: int) -> object:
        prefect = Upstream("p", "prefect", "p.test", f"https://localhost:{port}/api", "staging", "")
        async with Client(Limits(), scheme="https") as client:
            return (await Orchestrator(client, prefect, PREFECT).json("GET", "/api/x"))[1]

    with in_front(authority.server("localhost"), upstream) as port:
        if believed:
            assert run(ask(port)) == {"said": "/api/x"}
        else:
            with pytest.raises(Unanswered):
                run(ask(port))


CHECKED = """
import json, django
django.setup()
from django.core.mail import EmailMessage
from django.db import connection
from portal.celery import app

def tried(call):
    try:
        return bool(call() or True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

def broker():
    with app.connection_for_write() as opened:
        opened.ensure_connection(max_retries=1, interval_start=0)
        opened.default_channel.client.ping()

def mail():
    EmailMessage(subject="s", body="b", to=["ada@example.org"]).send()

print(json.dumps({part.__name__: tried(part) for part in (database, broker, mail)}))
"""


@pytest.mark.parametrize("believed", [True, False])
def test_database_broker_and_mail(authority: Authority, valkey: str, believed: bool) -> None:  # noqa: F811
    """A process of its own, set up by its variables alone."""
    letters: list[bytes] = []
    info = psycopg.conninfo.conninfo_to_dict(SUPERUSER)
    with ExitStack() as stack:
        tls = authority.server("localhost")
        database = stack.enter_context(in_front(tls, int(info["port"]), postgres_hello))
        broker = stack.enter_context(in_front(tls, urlsplit(valkey).port or 0))
        mail = stack.enter_context(accepting(mail_server(tls, letters)))
        env = dict(os.environ) | {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "STINT_DATABASE_URL": f"postgresql://stint_app:test@localhost:{database}/postgres?sslmode=verify-full",
            "STINT_BROKER_URL": f"rediss://localhost:{broker}/0",
            "STINT_SMTP_URL": f"smtp://localhost:{mail}",
            **({"STINT_CA_FILE": str(authority.file)} if believed else {}),
        }
        done = subprocess.run(
            [sys.executable, "-c", CHECKED], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert [part for part, fine in said.items() if fine is True] == (list(said) if believed else []), said
    assert len(letters) == believed


@pytest.mark.parametrize(
    ("url", "added"),
    [
        ("postgresql://stint_app@db/stint?sslmode=verify-full", True),
        ("postgresql://stint_app@db/stint?sslmode=verify-ca&connect_timeout=3", True),
        ("postgresql://stint_app@db/stint", False),  # `prefer` would fall back to no TLS where the check fails
        ("postgresql://stint_app@db/stint?sslmode=require", False),
        ("postgresql://stint_app@db/stint?sslmode=verify-full&sslrootcert=system", False),
    ],
)
def test_the_database_is_checked_where_its_url_says_so(url: str, added: bool) -> None:
    assert database_with(url, Path("/ca s.pem")) == (f"{url}&sslrootcert=/ca%20s.pem" if added else url)
    assert database_with(url, None) == url


@pytest.mark.parametrize("variable", ["STINT_CA_FILE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_that_is_none_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    monkeypatch.setenv("STINT_GATE_DATABASE_URL", os.environ["STINT_DATABASE_URL"])
    for read in (read_env, read_gate_env):
        with pytest.raises(BadSettings, match=f"{variable}: the file"):
            read()


PROXIED = {"HTTPS_PROXY": "http://proxy.test:3128", "HTTP_PROXY": "proxy.test:3128", "NO_PROXY": "inside.test,10.0.0.5"}


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "sso.example.org", "http://proxy.test:3128"),
        ("http", "sso.example.org", "http://proxy.test:3128"),
        ("https", "inside.test", None),
        ("https", "sso.inside.test", None),
        ("https", "10.0.0.5", None),
        ("http", "127.0.0.1", None),
        ("http", "127.0.0.53", None),
        ("http", "localhost", None),
        ("https", "::1", None),
    ],
)
def test_proxies(monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, proxy: str | None) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert proxy_of(scheme, host, 443) is None
    for name, value in PROXIED.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(scheme, host, 443) == proxy


def test_https_goes_through_the_proxy(authority: Authority, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a host that only the proxy knows; TLS is with the host, not with the proxy. The gate does the same."""
    trust.also(authority.file)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    seen: list[str] = []

    async def ask() -> object:
        prefect = Upstream("p", "prefect", "p.test", "https://sso.test/api", "staging", "")
        async with Client(Limits(), scheme="https") as client:
            return (await Orchestrator(client, prefect, PREFECT).json("GET", "/api/x"))[1]

    with in_front(authority.server("sso.test"), upstream) as port, accepting(proxy(seen, port)) as proxied:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxied}")
        with closing(Http("https://sso.test", who="Prefect", tries=1)) as http:
            assert http.get("/x") == {"said": "/x"}
        assert run(ask()) == {"said": "/api/x"}
    assert seen == ["CONNECT sso.test:443 HTTP/1.1"] * 2
