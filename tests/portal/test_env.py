"""Settings: wrong ones are named, secrets come from files, the page about them is the code's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from portal import __version__
from portal.env import markdown, read_env

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
    with pytest.raises(ValidationError) as caught:
        read_env()
    named = {str(error["loc"][0]) for error in caught.value.errors()}
    assert {"secret_key", "database_url", "public_url", "oidc_issuer", "audit_key_file"} <= named
    assert "mysql" not in str(caught.value), "a bad value may be a secret"


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
