"""docs/holes.md names, hole by hole, what closes it and the test: all of these names must exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.accounts.lies import LIES

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs/holes.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| hole")
]


@cache
def known_tests() -> frozenset[str]:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    return frozenset(
        name for text in texts for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", text, re.MULTILINE)
    )


@cache
def defined() -> frozenset[str]:
    """Every module, function, class and assigned name of the code."""
    names: set[str] = set()
    for folder in ("accounts", "grants", "portal"):
        for path in (ROOT / folder).rglob("*.py"):
            names.add(path.stem)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    names.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
    return frozenset(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_every_hole_has_a_test_that_exists(row: list[str]) -> None:
    _hole, closed_by, tests = row
    named = re.findall(r"`(test_\w+)(?:\[([^\]]+)\])?`", tests)
    assert named, "no test"
    for name, of in named:
        assert name in known_tests(), name
        if of:
            assert name == "test_a_lie_logs_nobody_in"
            assert any(lie.startswith(of.rstrip("…")) for lie in LIES), of
    for code in re.findall(r"`([\w.]+)`", closed_by):
        missing = set(code.split(".")) - defined()
        assert not missing, code


def test_the_table_is_read() -> None:
    assert len(ROWS) > 50
