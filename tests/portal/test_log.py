"""Secrets do not reach the log, whatever name they come under."""

from __future__ import annotations

import pytest

from portal.log import MASK, redact


@pytest.mark.parametrize(
    "event",
    [
        {"client_secret": "hunter2hunter2"},
        {"Authorization": "anything"},
        {"event": "called with Bearer hunter2hunter2"},
        {"error": "401 for https://user:hunter2hunter2@host/x"},
        {"event": "token eyJhbGciOiJSUzI1NiJ9.hunter2hunter2.hunter2hunter2"},
        {"x": "stint_0123456789abcdef_hunter2hunter2"},
        {"x": "cookie=stints_0123456789abcdef_hunter2hunter2;"},
        {"x": "/enter?ticket=stintt_0123456789abcdef_hunter2hunter2"},
    ],
)
def test_masked(event: dict[str, str]) -> None:
    shown = redact(None, "info", dict(event))
    assert "hunter2" not in str(shown)
    assert MASK in str(shown)


def test_the_rest_stays() -> None:
    assert redact(None, "info", {"event": "request", "path": "/requests/17", "status": 200}) == {
        "event": "request",
        "path": "/requests/17",
        "status": 200,
    }
