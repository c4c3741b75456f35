"""`--fast` leaves out what starts a program, whoever starts it and whatever becomes of the skip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import asyncio, contextlib, os, subprocess, sys, threading
import pytest
from playwright.sync_api import sync_playwright

START = [sys.executable, "-c", ""]

def test_of_its_own():
    subprocess.run(START)

def test_caught():
    with contextlib.suppress(BaseException):
        subprocess.run(START)

def test_caught_and_failing():
    with contextlib.suppress(BaseException):
        subprocess.run(START)
    assert False

@pytest.mark.filterwarnings("ignore")
def test_in_a_thread():
    thread = threading.Thread(target=lambda: subprocess.run(START))
    thread.start()
    thread.join()

def test_forked():
    if os.fork() == 0:
        os._exit(0)

@pytest.fixture(scope="module")
def part():
    return subprocess.run(START)

def test_by_a_fixture(part): pass
def test_by_the_same_fixture(part): pass

@pytest.fixture(scope="module")
def ended():
    try:
        yield subprocess.run(START)
    finally:
        assert False, "it never started"

def test_by_a_fixture_that_ends_it(ended): pass
def test_by_the_same_that_ends_it(ended): pass

def test_a_browser():
    with sync_playwright():
        pass

def test_no_loop_is_left_by_it():
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()

@pytest.mark.real
def test_marked(): pass

def test_plain(): pass
def test_that_fails(): assert False
"""


def test_a_test_that_starts_a_program_is_left_out(tmp_path: Path) -> None:
    """Fault: only what the test's own thread raises is looked at."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  real: x\n  e2e: x\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.plugin",
        "-p",
        "no:django",
        "-p",
        "no:cacheprovider",
        "--fast",
        "-rA",
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_XDIST_WORKER": "gw0"}  # a worker starts no PostgreSQL
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert re.findall(r"^(PASSED|FAILED) \S*::(\w+)", done.stdout, re.MULTILINE) == [
        ("PASSED", "test_no_loop_is_left_by_it"),
        ("PASSED", "test_plain"),
        ("FAILED", "test_that_fails"),
    ], done.stdout
    assert "1 failed, 2 passed, 10 skipped, 1 deselected" in done.stdout
