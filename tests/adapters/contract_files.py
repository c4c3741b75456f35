"""Traffic held to the official API descriptions, where ../shared/contracts is beside the project."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
# Real and undeclared: facts, contracts/README §2.
ALWAYS = {400, 401, 403, 404, 409, 429}


@cache
def description(name: str) -> dict[str, Any]:
    for folder in ROOT.parents:
        if (file := folder / "shared" / "contracts" / name).exists():
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return found
    pytest.skip(f"contract file shared/contracts/{name} not present")


def check(name: str, request: httpx.Request, response: httpx.Response) -> None:
    """The request and its answer are such as the description has them. Raises AssertionError or ValidationError."""
    document = description(name)
    path = request.url.raw_path.decode().partition("?")[0]
    if "/protocol/openid-connect/" in path:
        return  # not in the file
    template = _template(document, path)
    item = document["paths"][template]
    operation = item.get(request.method.lower())
    assert operation, f"{request.method} {template} is not described"
    declared = {parameter["name"] for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]}
    assert set(request.url.params) <= declared, f"{template} takes no {set(request.url.params) - declared}"
    if request.content:
        _valid(document, operation["requestBody"]["content"]["application/json"]["schema"], json.loads(request.content))
    if response.status_code in ALWAYS or response.status_code >= 500:
        return
    answer = operation["responses"].get(str(response.status_code))
    assert answer, f"{request.method} {template} does not answer {response.status_code}"
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    if schema and response.content:
        _valid(document, schema, response.json())


def _template(document: dict[str, Any], path: str) -> str:
    fitting = [
        template for template in document["paths"] if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
    ]
    assert fitting, f"{path} is not described"
    return max(fitting, key=lambda template: sum(not part.startswith("{") for part in template.split("/")))


def _valid(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)
