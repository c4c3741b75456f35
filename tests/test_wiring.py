"""Rooms hear of each other in one order, and every job that there can be is somebody's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.signals import changed_by, coming_back
from grants import due, tasks, wiring
from grants.audit import Verb, record
from grants.lifecycle import decide
from tests.cast import Cast

ROOT = Path(__file__).resolve().parents[1]
LOCKS = re.compile(
    r'^SELECT .* FROM "(grants_grant|grants_credential|grants_rolebinding)".* FOR NO KEY UPDATE', re.DOTALL
)


@pytest.mark.parametrize("signal", wiring.RECEIVERS)
def test_signals_are_received_in_the_order_that_stands_there(signal: Any) -> None:
    """Turned round, one who comes back and one whose grant is revoked wait for each other."""
    connected = [receiver() for _, receiver, *_ in signal.receivers]
    assert connected == list(wiring.RECEIVERS[signal])


def test_nothing_is_connected_elsewhere() -> None:
    for path in [*(ROOT / "grants").rglob("*.py"), *(ROOT / "accounts").rglob("*.py")]:
        if path.name != "wiring.py":
            assert not re.search(r"(happened|session_ending|coming_back|judged_anew)\.connect\(", path.read_text()), (
                path
            )


def test_grants_are_locked_before_credentials(cast: Cast) -> None:
    decide.approve(cast.asks(), by=cast.chiara)
    locked: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if found := LOCKS.match(sql):
            locked.append(found[1])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note), transaction.atomic():
        rows = changed_by(coming_back, [cast.ada])
        record(Verb.SUBJECT_CHANGED, by="test", on=[*rows, cast.ada], subject=cast.ada.pk)
    assert locked[0] == "grants_grant"
    assert locked == sorted(locked, key=["grants_grant", "grants_rolebinding", "grants_credential"].index)
    assert "grants_credential" in locked


def test_every_row_that_the_code_or_a_migration_makes_is_of_a_job_that_is_registered() -> None:
    made = {"mail", "heads", "judge"}  # by migrations 0002 and 0018
    made |= {name for job in due.JOBS.values() for name in job.standing()}
    for name in made:
        assert name.partition(":")[0] in due.JOBS, name
    assert set(due.JOBS) == {
        "directory", "heads", "judge", "mail", "restored", "sessions", "sync", "token", "usage",
    }  # fmt: skip


def test_a_kind_is_one_room_s() -> None:
    with pytest.raises(AssertionError):
        due.job("mail")(lambda _which: None)


def test_due_names_no_table_of_another_room() -> None:
    assert set(re.findall(r"grants_\w+|accounts_\w+", (ROOT / "grants/due.py").read_text())) == {
        "grants_duejob", "grants_processbeat",
    }  # fmt: skip


@pytest.mark.usefixtures("commits")
def test_a_job_that_nobody_knows_waits_for_a_release_that_does() -> None:
    due.ensure("later:x")
    tasks.run("later:x")
    assert due.is_known("later:x")
    assert "later:x" not in due.claim(in_place=False)
