from __future__ import annotations

from pathlib import Path

import pytest

from grants.adapters.errors import Unavailable
from grants.adapters.http import bearer
from grants.adapters.secrets import NoSecret, resolve_secret


def test_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THE_SECRET", " admin:hunter2 ")
    (tmp_path / "secret").write_text("pässword\n")
    assert resolve_secret("env:THE_SECRET") == "admin:hunter2"
    assert resolve_secret(f"file:{tmp_path}/secret") == "pässword"


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "hunter2",
        "env:",
        "env:hunter2 is it",
        "file:hunter2",
        "file:../hunter2",
        "vault:hunter2",
        "ENV:hunter2",
    ],
)
def test_what_is_no_reference_is_not_quoted(ref: str) -> None:
    """Somebody pasted the secret where its reference belongs."""
    with pytest.raises(NoSecret) as caught:
        resolve_secret(ref)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"hunter2\r\nX: y", b"hunter2\x00", b"hunter2\xff", b"hunter2" * 20_000]
)
def test_a_file_with_no_usable_secret_is_named_and_not_quoted(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(NoSecret) as caught:
        resolve_secret(f"file:{tmp_path}/s")
    assert str(tmp_path / "s") in caught.value.reason
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_not_there(tmp_path: Path) -> None:
    for ref in ("env:STINT_NO_SUCH_VARIABLE", f"file:{tmp_path}/none", f"file:{tmp_path}"):
        with pytest.raises(Unavailable):  # not Missing: nothing outside was asked
            resolve_secret(ref)


def test_a_token_that_no_header_can_carry() -> None:
    assert bearer("abc") == {"Authorization": "Bearer abc"}
    with pytest.raises(NoSecret) as caught:
        bearer("hunter2ü")
    assert "hunter2" not in str(caught.value)
