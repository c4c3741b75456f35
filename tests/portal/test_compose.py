"""docker-compose.yml and Dockerfile describe what runs natively in the demo, checked without a Docker engine."""

from __future__ import annotations

import os
import re
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
    ours = {"migrate", "apply", "web", "worker", "gate"}
    assert set(compose["services"]) == {"postgres", "valkey", "keycloak", "prefect"} | ours


def test_the_commands_are_the_ones_that_run_natively(compose: dict[str, Any]) -> None:
    assert compose["services"]["web"]["command"][1:] == WEB[1:]
    assert compose["services"]["worker"]["command"][1:] == WORKER[1:]


def test_every_variable_exists(compose: dict[str, Any]) -> None:
    for service, env in (("migrate", Env), ("apply", Env), ("web", Env), ("worker", Env), ("gate", GateEnv)):
        for name in compose["services"][service]["environment"]:
            field = name.removeprefix("STINT_").lower()
            assert field in env.model_fields or field.removesuffix("_file") in env.model_fields, name


def test_prefect_is_reached_by_the_gate_alone(compose: dict[str, Any]) -> None:
    """No port of its own, an auth string, and on its network nobody but who needs it."""
    services = compose["services"]
    assert "ports" not in services["prefect"]
    assert "PREFECT_SERVER_API_AUTH_STRING=$$(cat /run/secrets/prefect)" in services["prefect"]["command"][-1]
    (network,) = services["prefect"]["networks"]
    needing = {"prefect", "gate", "worker", "apply"}
    assert {name for name, one in services.items() if network in one["networks"]} == needing
    knows = {name for name, one in services.items() if "prefect" in one.get("secrets", ())}
    assert knows == needing


def test_the_gate_has_no_secret_that_it_does_not_need(compose: dict[str, Any]) -> None:
    gate = compose["services"]["gate"]
    assert set(gate["secrets"]) == {"gate_database_url", "prefect", "metrics_token"}
    assert gate["volumes"] == ["gate:/state", "./config:/config:ro"]


def test_what_must_outlive_a_container_is_in_a_volume(compose: dict[str, Any]) -> None:
    """Each file that a setting names, and what the other parts keep; a container's own files are read-only."""
    for name in ("web", "worker", "migrate", "gate"):
        service = compose["services"][name]
        mounted = [mount.split(":")[1] for mount in service["volumes"]]
        for variable, value in service["environment"].items():
            if str(value).startswith("/") and not value.startswith("/run/secrets/"):
                assert any(value == folder or value.startswith(f"{folder}/") for folder in mounted), variable
        assert service["read_only"]
        assert all("size=" in one for one in service["tmpfs"])
    delivered = [name for name, one in compose["services"].items() if "tokens:/tokens" in one.get("volumes", ())]
    assert delivered == ["worker"], "who sees this folder has every machine's token"
    assert {"STINT_TOKEN_DIR", "STINT_AUDIT_KEY_FILE"} <= set(compose["services"]["worker"]["environment"])
    assert "STINT_GATE_STATE_FILE" in compose["services"]["gate"]["environment"]
    named = {mount.split(":")[0] for one in compose["services"].values() for mount in one.get("volumes", ())}
    assert {one for one in named if not one.startswith(".")} == set(compose["volumes"])
    assert compose["services"]["keycloak"]["volumes"] == ["keycloak:/opt/keycloak/data"]


def test_the_image_has_the_folders_of_the_volumes(compose: dict[str, Any]) -> None:
    """A named volume takes its owner from the image; without the folder there it would be root's."""
    (made,) = (line for line in (ROOT / "Dockerfile").read_text().splitlines() if "install -d -m 0700 -o stint" in line)
    for name in ("web", "worker", "gate"):
        for mount in compose["services"][name]["volumes"]:
            source, folder, *_ = mount.split(":")
            assert source.startswith(".") or folder in made.split()


def test_health_is_asked_as_it_is_answered(compose: dict[str, Any]) -> None:
    """PostgreSQL over TCP, which answers only once roles and database are made; ours by address and path."""
    services = compose["services"]
    assert services["postgres"]["healthcheck"]["test"][:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]
    assert "http://127.0.0.1:8000/readyz" in services["web"]["healthcheck"]["test"][-1]
    assert (
        f"http://127.0.0.1:{GateEnv.model_fields['gate_admin_port'].default}/readyz"
        in (services["gate"]["healthcheck"]["test"][-1])
    )
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            assert needed["condition"] != "service_healthy" or "healthcheck" in services[name], name


def test_keycloak_is_kept_and_behind_the_proxy(compose: dict[str, Any]) -> None:
    keycloak = compose["services"]["keycloak"]
    assert keycloak["entrypoint"][-1].endswith("kc.sh start")
    assert keycloak["environment"]["KC_PROXY_HEADERS"] == "xforwarded"
    assert keycloak["environment"]["KC_HOSTNAME"].startswith("${KEYCLOAK_URL:?")


def test_what_must_be_said_is_in_the_example() -> None:
    """Each variable without which compose refuses to start has its line in deploy/env.example."""
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    said = {line.partition("=")[0] for line in (ROOT / "deploy/env.example").read_text().splitlines()}
    assert asked <= said


def test_each_secret_that_is_mounted_is_made(compose: dict[str, Any], tmp_path: Path) -> None:
    """But the two that come from the provider; without its file compose does not start."""
    used = {name for one in compose["services"].values() for name in one.get("secrets", ())}
    assert used == set(compose["secrets"])
    assert used - set(make_secrets(tmp_path)) == {"oidc_client", "stint_provisioner"}


def test_policy_and_connections_come_from_the_folder(compose: dict[str, Any]) -> None:
    """Applied as docs/operations.md has it: the directory is read between the two."""
    apply = compose["services"]["apply"]
    assert apply["profiles"]
    steps = re.findall(r"manage\.py (\S+)", apply["command"][-1])
    assert steps == ["connections", "sync", "policy"]
    told = (ROOT / "docs/operations.md").read_text().partition("## First start")[2].partition("\n## ")[0]
    assert [step for step in re.findall(r"^\./manage (\S+)", told, re.MULTILINE) if step in steps] == steps


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
    users = dict.fromkeys(("migrate", "apply", "web", "worker", "gate"), 10001) | {"postgres": 999, "keycloak": 1000}
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
