from __future__ import annotations

import pytest

from accounts.models import Subject
from grants.catalog.models import Connection
from grants.lifecycle.models import Grant, Request
from grants.policy.models import PolicyVersion
from grants.references import LETTERS, Reference, read, ref


@pytest.mark.parametrize("kind", LETTERS)
def test_what_is_written_is_read_again(kind: str) -> None:
    assert read(ref(kind, 17)) == Reference(kind, 17)
    assert read(f" {ref(kind, 17).lower()} ") == Reference(kind, 17)


@pytest.mark.parametrize("text", ["", "R", "R-", "R17", "X-1", "R-1-2", "R-１７", "ſ-1", "R-" + "9" * 19, "R-1 G-2"])
def test_other_text_is_no_reference(text: str) -> None:
    assert read(text) is None


def test_rows_are_called_so() -> None:
    rows = {"request": Request, "grant": Grant, "subject": Subject, "connection": Connection, "policy": PolicyVersion}
    assert {kind: model(pk=3).ref for kind, model in rows.items()} == {kind: ref(kind, 3) for kind in LETTERS}
