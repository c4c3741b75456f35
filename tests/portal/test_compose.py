"""docker-compose.yml and Dockerfile describe what runs natively in the demo, checked without a Docker engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from portal.demo.__main__ import WEB, WORKER
from portal.env import Env, GateEnv

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_the_schema_holds() -> None:
    """The compose specification's own schema, which check-jsonschema ships."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_of_it_is_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "valkey", "keycloak", "prefect", "migrate", "web", "worker", "gate"}


def test_the_commands_are_the_ones_that_run_natively(compose: dict[str, Any]) -> None:
    assert compose["services"]["web"]["command"][1:] == WEB[1:]
    assert compose["services"]["worker"]["command"][1:] == WORKER[1:]


def test_every_variable_exists(compose: dict[str, Any]) -> None:
    for service, env in (("migrate", Env), ("web", Env), ("worker", Env), ("gate", GateEnv)):
        for name in compose["services"][service]["environment"]:
            field = name.removeprefix("STINT_").lower()
            assert field in env.model_fields or field.removesuffix("_file") in env.model_fields, name


def test_prefect_is_reached_by_the_gate_alone(compose: dict[str, Any]) -> None:
    """No port of its own, an auth string, and on its network nobody but who needs it."""
    services = compose["services"]
    assert "ports" not in services["prefect"]
    assert "PREFECT_SERVER_API_AUTH_STRING=$$(cat /run/secrets/prefect)" in services["prefect"]["command"][-1]
    (network,) = services["prefect"]["networks"]
    assert {name for name, one in services.items() if network in one["networks"]} == {"prefect", "gate", "worker"}
    knows = {name for name, one in services.items() if "prefect" in one.get("secrets", ())}
    assert knows == {"prefect", "gate", "worker"}


def test_the_gate_has_no_secret_that_it_does_not_need(compose: dict[str, Any]) -> None:
    assert set(compose["services"]["gate"]["secrets"]) == {"gate_database_url", "prefect"}
    assert not compose["services"]["gate"]["volumes"]


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name:
                assert name.endswith("_FILE") or value.startswith(("${", "file:/run/secrets/")), name


def test_the_image_is_small_and_not_roots() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM")) :]
    assert any(line.startswith("USER stint") for line in last)
    assert not any("apt-get" in line or "uv " in line or "gcc" in line for line in last)


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(["sh", str(ROOT / "deploy/secrets.sh")], cwd=tmp_path, check=True, capture_output=True)
        made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
        assert made["stint_app"] in made["database_url"]
        assert len(made["secret_key"]) >= 50
        before = made
    assert made == before
    assert (tmp_path / "secrets").stat().st_mode & 0o066 == 0
