"""An id has one spelling, and nothing else passes for one."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.gate.decision.ids import canonical_id

ID = "0a1b2c3d-0000-4000-8000-00000000abcd"


@given(st.uuids(), st.booleans(), st.booleans())
def test_every_spelling_of_an_id_is_the_one(one: UUID, upper: bool, hyphens: bool) -> None:
    text = str(one) if hyphens else one.hex
    assert canonical_id(text.upper() if upper else text) == str(one)


@pytest.mark.parametrize(
    "text",
    [None, 1, "", ID[:-1], ID + "0", f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("a", "g"), ID + "\n", "-" * 36, "é" * 32,
     ID.replace("-", "", 1), "+" + ID.replace("-", "")[1:], "0_" + ID.replace("-", "")[2:]],
)  # fmt: skip
def test_what_is_no_id_is_none(text: object) -> None:
    assert canonical_id(text) is None
