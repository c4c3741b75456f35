"""README says which versions are tested: exactly those that a leg tests, and those of the lock."""

from __future__ import annotations

import re

from portal.demo.keycloak import VERSION as KEYCLOAK
from tests.versions.__main__ import LEGS
from tests.versions.parts import ROOT

LOCKED = {"Prefect": {"3.9"}, "PostgreSQL": {"18"}, "Valkey": {"9"}, "Keycloak": {"26.7"}, "CPython": {"3.13"}}
PARTS = {"prefect": "Prefect", "postgres": "PostgreSQL", "redis": "Redis", "keycloak": "Keycloak", "python": "CPython"}


def said(column: int) -> dict[str, set[str]]:
    """What a column of README's table says, by part: a version stands beside the part's name, or in its row."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Versions")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not re.search(r"\d", cells[column]):
            continue
        row = cells[0].split(",")[0].split(" ")[0]
        for part, version in re.findall(r"([A-Z][a-z]+ )?(\d[\d.]*)", cells[column]):
            found.setdefault(part.strip() or row, set()).add(version)
    return found


def legs(*, ci: bool) -> dict[str, set[str]]:
    named: dict[str, set[str]] = {}
    for leg in LEGS:
        if leg.ci is ci:
            # README names what decides: the minor version, but for Prefect, where a patch release is the floor.
            parts = leg.version.split(".")
            kept = {"prefect": 3, "postgres": 1}.get(leg.part, 2)
            named.setdefault(PARTS[leg.part], set()).add(".".join(parts[:kept]))
    return named


def test_the_tests_of_each_leg_are_there() -> None:
    """A file that was moved would only be missed where the legs run, at the end of CI."""
    for leg in LEGS:
        paths = [one for one in leg.tests if one.startswith("tests/")]
        assert paths
        assert [one for one in paths if not (ROOT / one).exists()] == []


def test_ci_tests_what_readme_says() -> None:
    wanted = legs(ci=True)
    for part, versions in LOCKED.items():
        wanted.setdefault(part, set()).update(versions)
    assert said(1) == wanted
    assert KEYCLOAK.startswith(("26.7.", "26.4."))  # a leg of its own runs this, too


def test_the_others_are_tested_by_hand() -> None:
    assert said(2) == legs(ci=False)
