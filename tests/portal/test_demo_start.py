"""What the demo says and clears before anything is started: one clear sentence for whatever is not as it must be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portal.demo.process import Parts, members
from tests.e2e.running import ROOT, Running


def started(running: Running, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portal.demo"], cwd=ROOT, env=running.env | env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_without_java_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    running = Running(tmp_path / "d", STINT_DEMO_KEYCLOAK="1")
    done = started(running, PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "Keycloak needs java (17, 21 or 25) on PATH.\n"
    assert running.left() == []


def test_without_a_way_to_fetch_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "java").touch(mode=0o755)
    running = Running(tmp_path / "d", STINT_DEMO_KEYCLOAK="1")
    done = started(running, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), KEYCLOAK_HOME="", MAVEN_REPOSITORY_URL="")
    assert done.returncode == 1
    assert "is fetched by mvn, or from MAVEN_REPOSITORY_URL: neither is here." in done.stderr


@pytest.mark.parametrize(("of", "asked"), [("", "1"), ("demo", "1"), ("keycloak", ""), ("keycloak", "0")])
def test_a_folder_is_one_providers(tmp_path: Path, of: str, asked: str) -> None:
    """Their people have other ids: mixed, one provider's would get what the other's were approved."""
    (tmp_path / "secrets.json").write_text("{}")
    if of:  # before there were two, none was written
        (tmp_path / "provider").write_text(of)
    done = started(Running(tmp_path, STINT_DEMO_KEYCLOAK=asked))
    assert done.returncode == 1
    assert f"another identity provider ({of or 'demo'})" in done.stderr
    assert (tmp_path / "secrets.json").read_text() == "{}"


def test_each_provider_has_a_folder_of_its_own() -> None:
    script = "from portal.demo.__main__ import Demo; demo = Demo(); print(demo.folder.name, demo.idp.slug)"
    env = {name: value for name, value in os.environ.items() if not name.startswith("STINT_DEMO")}
    told = {
        asked: subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=env | {"STINT_DEMO_KEYCLOAK": asked}, capture_output=True,
            text=True, check=True,
        ).stdout.split()
        for asked in ("", "0", "1")
    }  # fmt: skip
    assert told == {"": [".stint", "demo"], "0": [".stint", "demo"], "1": [".stint-keycloak", "keycloak"]}


@pytest.mark.parametrize(("names_our_folder", "cleared"), [(True, ["part"]), (False, [])])
def test_children_of_a_killed_part_are_cleared_if_they_are_ours(
    tmp_path: Path, names_our_folder: bool, cleared: list[str]
) -> None:
    """Like kc.sh and its java. A group that has our number and knows nothing of our folder is somebody else's."""
    child = f"import time; time.sleep(60); {str(tmp_path) if names_our_folder else 'else'!r}"
    leader = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", leader], start_new_session=True)
    Parts(tmp_path).keep("part", process)
    deadline = time.monotonic() + 20
    while len(members(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    try:
        assert len(members(process.pid)) == 1
        assert Parts(tmp_path).clear_leftovers() == cleared
        assert len(members(process.pid)) == 1 - len(cleared)
    finally:
        if members(process.pid):
            os.killpg(process.pid, 9)
