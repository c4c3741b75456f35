"""Settings: wrong ones are named, secrets come from files, the page about them is the code's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portal import __version__
from portal.env import BadSettings, markdown, read_env

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_settings_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text() == markdown(), "run `make docs`"


def test_the_version_is_told_once() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_every_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STINT_SECRET_KEY", "short")
    monkeypatch.setenv("STINT_DATABASE_URL", "mysql://x")
    with pytest.raises(BadSettings) as caught:
        read_env()
    said = str(caught.value)
    for name in ("SECRET_KEY", "DATABASE_URL", "PUBLIC_URL", "OIDC_ISSUER", "AUDIT_KEY_FILE"):
        assert f"\nSTINT_{name}: " in said
    assert "mysql" not in said, "a bad value may be a secret"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PUBLIC_URL": "https://stint.example.org/portal"}, "STINT_PUBLIC_URL: no path"),
        ({"PUBLIC_URL": "http://stint.example.org"}, "STINT_PUBLIC_URL: write https"),
        ({"PUBLIC_URL": "https://me:HUNTER2@stint.example.org"}, "STINT_PUBLIC_URL: no password"),
        ({"PUBLIC_URL": "https://[x"}, "STINT_PUBLIC_URL: write https"),
        ({"OIDC_ISSUER": "http://sso.example.org"}, "STINT_OIDC_ISSUER: write https"),
        ({"OIDC_ISSUER": "http://127.0.0.1.example.org"}, "STINT_OIDC_ISSUER: write https"),
        ({"OIDC_ISSUER": "http://[::1]:8080", "IDP_KIND": "nonsense"}, "STINT_IDP_KIND: "),
        ({"IDP_KIND": "keycloak", "OIDC_ISSUER": "https://sso.example.org/realms/a"}, "STINT_IDP_ADMIN_SECRET_REF"),
        ({"IDP_KIND": "keycloak", "IDP_ADMIN_SECRET_REF": "env:X"}, "STINT_OIDC_ISSUER: a Keycloak"),
        ({"IDP_KIND": "demo", "IDP_ADMIN_SECRET_REF": "env:X"}, "STINT_IDP_ADMIN_URL"),
        ({"IDP_ADMIN_SECRET_REF": "HUNTER2"}, "STINT_IDP_ADMIN_SECRET_REF: write env:NAME"),
        ({"IDP_ADMIN_SECRET_REF": "file:HUNTER2"}, "STINT_IDP_ADMIN_SECRET_REF: write env:NAME"),
        ({"OIDC_SCOPES": "profile openidx"}, "STINT_OIDC_SCOPES: without the scope `openid`"),
        ({"SECRET_KEY_FILE": "/dev/null"}, "STINT_SECRET_KEY_FILE: Stint reads this or STINT_SECRET_KEY"),
        ({"METRICS_TOKEN_FILE": "/nowhere/x"}, "STINT_METRICS_TOKEN_FILE: the file cannot be read (No such file"),
        ({"BROKER_URL": "amqp://me:HUNTER2@x"}, "STINT_BROKER_URL: write redis://"),
        ({"DATABASE_URL": "postgresql://me:HUNTER2@h:99999/x"}, "STINT_DATABASE_URL: write postgresql://"),
        ({"SMTP_URL": "mail:HUNTER2"}, "STINT_SMTP_URL: write smtp://"),
        ({"SYNC_SECONDS": "1"}, "STINT_SYNC_SECONDS: "),
    ],
)
def test_what_is_not_meant_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"STINT_{name}", value)
    with pytest.raises(BadSettings) as caught:
        read_env()
    assert named in str(caught.value)
    assert "HUNTER2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://demo.localhost", "http://127.1.2.3", "http://[::1]:1"]
)
def test_http_is_for_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("STINT_PUBLIC_URL", url)
    assert read_env().public_url == url


def test_a_secret_comes_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40 + "\n")
    monkeypatch.delenv("STINT_SECRET_KEY", raising=False)
    monkeypatch.setenv("STINT_SECRET_KEY_FILE", str(tmp_path / "key"))
    assert read_env().secret_key.get_secret_value() == "k" * 40


def test_audit_key_file_is_a_path_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """STINT_AUDIT_KEY_FILE ends in _FILE, yet it is the path that is meant."""
    monkeypatch.setenv("STINT_AUDIT_KEY_FILE", "/nowhere/key.pem")
    assert read_env().audit_key_file == Path("/nowhere/key.pem")


@pytest.mark.parametrize(
    ("url", "https", "port"),
    [("https://stint.example.org/", True, None), ("http://127.0.0.1:8000", False, 8000)],
)
def test_public_url(monkeypatch: pytest.MonkeyPatch, url: str, https: bool, port: int | None) -> None:
    monkeypatch.setenv("STINT_PUBLIC_URL", url)
    env = read_env()
    assert (env.https, env.port) == (https, port)
    assert not env.public_url.endswith("/")
