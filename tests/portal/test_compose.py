"""docker-compose.yml and Dockerfile describe what runs natively in the demo, checked without a Docker engine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


def make_secrets(folder: Path, *as_somebody: str) -> dict[str, str]:
    script = ["sh", str(ROOT / "deploy/secrets.sh")]
    subprocess.run([*as_somebody, *script], cwd=folder, check=True, capture_output=True)
    return {file.name: file.read_text() for file in (folder / "secrets").iterdir()}


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    assert made["stint_app"] in made["database_url"]
    assert len(made["secret_key"]) >= 50
    assert make_secrets(tmp_path) == made


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Anybody may go there, unlike to pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_no_other_user_of_this_machine_reads_a_secret(open_folder: Path) -> None:
    """Nor after the script ran over a folder that an older one left open, or over a secret that was put there."""
    secrets = open_folder / "secrets"
    secrets.mkdir(mode=0o755)
    (secrets / "oidc_client").write_text("from the provider")
    (secrets / "oidc_client").chmod(0o644)
    made = make_secrets(open_folder)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can look as nobody")
    beside = open_folder / "beside"
    beside.write_text("for everybody")
    assert subprocess.run([*AS_NOBODY, "cat", str(beside)], check=False, capture_output=True).returncode == 0
    for name in made:
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o400, name
        assert subprocess.run([*AS_NOBODY, "cat", str(secrets / name)], check=False, capture_output=True).returncode


def test_each_secret_is_read_by_its_container_alone(compose: dict[str, Any], open_folder: Path) -> None:
    """Owned, where root made it, by the user of every container that it is mounted into; by Prefect's root besides."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for name in ("oidc_client", "stint_provisioner"):
        (open_folder / "secrets").mkdir(exist_ok=True)
        (open_folder / "secrets" / name).write_text("from the provider")
    make_secrets(open_folder)
    users = {"postgres": 999, "migrate": 10001, "web": 10001, "worker": 10001, "gate": 10001}
    assert "--uid 10001" in (ROOT / "Dockerfile").read_text()
    for service, uid in users.items():
        for name in compose["services"][service]["secrets"]:
            assert (open_folder / "secrets" / name).stat().st_uid == uid, (service, name)


def test_who_is_not_root_closes_the_folder(open_folder: Path) -> None:
    """Files cannot be given away then: they are for everybody who gets to them, which the folder prevents."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody, and then somebody else")
    made = make_secrets(open_folder, "setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    for name in made:
        assert stat.S_IMODE((open_folder / "secrets" / name).stat().st_mode) == 0o444, name
        read = subprocess.run(
            [*AS_NOBODY, "cat", str(open_folder / "secrets" / name)], check=False, capture_output=True
        )
        assert read.returncode, name
