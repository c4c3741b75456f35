"""deploy/systemd and deploy/nginx fit the code. That they work is shown by tests/e2e/test_first_start.py."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portal import front
from portal.demo.__main__ import WEB, WORKER
from portal.env import Env, GateEnv
from tests.e2e.first_start import blocks

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
ENVS = {"stint-web@": Env, "stint-worker@": Env, "stint-migrate": Env, "stint-gate@": GateEnv}


def lines(unit: str, key: str) -> list[str]:
    text = (ROOT / f"deploy/systemd/{unit}.service").read_text()
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def page_file(name: str) -> str:
    (text,) = (block.text for block in blocks() if block.file == name)
    return text


def test_the_commands_are_the_ones_of_the_demo() -> None:
    assert {path.stem for path in UNITS} == set(ENVS)
    for unit, command in (("stint-web@", WEB), ("stint-worker@", WORKER)):
        assert [shlex.split(line)[1:] for line in lines(unit, "ExecStart")] == [command[1:]]
    assert [line.partition(" ")[2] for line in lines("stint-gate@", "ExecStart")] == ["-m portal.gate"]


@pytest.mark.parametrize("unit", ENVS)
def test_every_variable_exists(unit: str) -> None:
    (settings,) = lines(unit, "EnvironmentFile")
    given = [*shlex.split(" ".join(lines(unit, "Environment"))), *page_file(settings).splitlines()]
    for pair in given:
        if not pair.startswith("#"):
            field = pair.partition("=")[0].removeprefix("STINT_").lower()
            known = ENVS[unit].model_fields
            assert field in known or field.removesuffix("_file") in known, pair


def test_the_owner_is_known_to_who_migrates_alone() -> None:
    having = [path.stem for path in UNITS if "owner" in path.read_text().partition("[Unit]")[2]]
    assert having == ["stint-migrate"]
    assert "OWNER" not in page_file("/etc/stint/stint.env")


def test_the_gate_is_somebody_else() -> None:
    assert {unit: lines(unit, "User") for unit in ENVS} == {unit: ["stint"] for unit in ENVS} | {
        "stint-gate@": ["stint-gate"]
    }
    script = (ROOT / "deploy/systemd/secrets.sh").read_text()
    given = dict(re.findall(r"^give (\S+) (.*)$", script, re.MULTILINE))
    for owner, names in given.items():
        may = "stint-gate" in owner
        assert may == (set(names.split()) <= {"gate_database_url", "prefect", "metrics_token"}), owner


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_they_are_shut_in(path: Path) -> None:
    """By systemd's own measure, of 100; without any of it they have 92 to 96."""
    said = path.read_text()
    for line in ("NoNewPrivileges=true", "ProtectSystem=strict", "CapabilityBoundingSet=", "PrivateTmp=true"):
        assert f"\n{line}\n" in said
    if not (tool := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [tool, "security", "--offline=yes", "--threshold=20", "--no-pager", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """No running systemd is asked. Fault: a misspelt key, which systemd itself only warns of and ignores."""
    if not (tool := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    here = [tmp_path / path.name for path in UNITS]
    for path, copy in zip(UNITS, here, strict=True):
        copy.write_text(path.read_text().replace("/opt/stint/.venv/bin/python", sys.executable))
    done = subprocess.run(
        [tool, "verify", "--man=no", "--generators=no", *map(str, here)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_proxy_does_what_the_page_asks_of_one() -> None:
    text = (ROOT / "deploy/nginx/stint.conf").read_text()
    portal, gate = text.split("\nserver {")[1:]
    assert f"client_max_body_size {front.MOST // 1024}k;" in portal
    assert "X-Forwarded-Proto https;" in portal
    assert int(re.findall(r"client_max_body_size (\d+)m;", gate)[0]) > 4
    for server in (portal, gate):
        assert "proxy_set_header Host $http_host;" in server
        assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in server
        assert "limit_conn " in server
        assert "client_header_timeout 10s;" in server
        assert re.search(r"proxy_pass http://\w+;", server), "a path after it would be decoded"
        assert "proxy_request_buffering off" not in server
    assert "merge_slashes off;" in gate
    assert "proxy_set_header Upgrade $http_upgrade;" in gate
