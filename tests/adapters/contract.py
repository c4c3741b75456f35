"""Holds recorded HTTP traffic to Prefect's own API description (shared/contracts, outside the repository)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

FILE = Path(__file__).resolve().parents[3] / "shared" / "contracts" / "prefect-openapi.json"
_ANYWHERE = {307, 400, 401, 403, 404, 409, 429}


class Recorder(httpx.BaseTransport):
    """Passes requests on and keeps each exchange, whole."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner
        self.exchanges: list[tuple[httpx.Request, httpx.Response]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        answer.request = request
        answer.read()
        headers = {
            name: value for name, value in answer.headers.items() if name not in ("content-encoding", "content-length")
        }
        copy = httpx.Response(answer.status_code, headers=headers, content=answer.content)
        self.exchanges.append((request, copy))
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)

    def close(self) -> None:
        self.inner.close()


@cache
def document() -> dict[str, Any]:
    if not FILE.exists():
        pytest.skip("contract file shared/contracts/prefect-openapi.json not present")
    loaded: dict[str, Any] = json.loads(FILE.read_text())
    return loaded


def hold_to_contract(recorder: Recorder, base: str = "/api") -> None:
    """Every request is one that Prefect 3.9.1 describes, and every 2xx answer is what it says it answers."""
    assert recorder.exchanges, "nothing was recorded"
    for request, response in recorder.exchanges:
        operation = document()["paths"][request.url.path.removeprefix(base)][request.method.lower()]
        declared = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
        assert set(request.url.params) <= declared
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        _valid(json.loads(request.content), body)
        status = str(response.status_code)
        if status in operation["responses"]:
            _valid(response.json(), operation["responses"][status]["content"]["application/json"]["schema"])
        else:
            assert response.status_code in _ANYWHERE or response.status_code >= 500


def _valid(value: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document()["components"]}).validate(value)
