"""Bindings, attacked as the app role: a role is given and taken by the moves that there are, and no other.

The ORM is left out on purpose: this is what a hole in our own code could send.
"""

from __future__ import annotations

import psycopg
import pytest

from grants.lifecycle.models import Grant, Request
from tests.cast import Cast
from tests.conftest import connect
from tests.database.attacker import ILLEGAL_MOVE, refused


@pytest.fixture
def given(story: tuple[Cast, Request, Grant], app: psycopg.Connection) -> int:
    """A binding whose role was not there before, and is given now."""
    cast, _, _ = story
    (pk,) = app.execute(
        "INSERT INTO grants_rolebinding (idp_id, external_id, role) VALUES (%s, 'id-ada', 'r') RETURNING id",
        [cast.idp.pk],
    ).fetchone() or (0,)
    app.execute("UPDATE grants_rolebinding SET phase = 'adding', found_before = false WHERE id = %s", [pk])
    app.execute("UPDATE grants_rolebinding SET phase = 'present' WHERE id = %s", [pk])
    return int(pk)


@pytest.mark.parametrize(
    "change",
    [
        "phase = 'absent'",  # taken back without an intent
        "phase = 'adding'",
        "phase = 'kept'",  # of a role that Stint gave
        "phase = 'lost'",
        "found_before = true",  # judged again, so that it would never be taken back
        "found_before = NULL",
        "phase = 'removing', found_before = NULL",
        "generation = -1",
        "lease = '00000000-0000-0000-0000-000000000000'",  # for ever
    ],
)
def test_a_binding_only_moves_as_it_may(app: psycopg.Connection, given: int, change: str) -> None:
    with pytest.raises(psycopg.Error):
        app.execute(f"UPDATE grants_rolebinding SET {change} WHERE id = {given}")
    refused(app, f"DELETE FROM grants_rolebinding WHERE id = {given}")
    refused(app, f"UPDATE grants_rolebinding SET role = 'another' WHERE id = {given}")
    refused(app, f"UPDATE grants_rolebinding SET external_id = 'id-ben' WHERE id = {given}")


PHASES = ("absent", "adding", "present", "removing", "kept")
MOVES = {  # MODEL §2
    ("absent", "adding"), ("adding", "present"), ("adding", "removing"), ("adding", "kept"), ("present", "removing"),
    ("present", "kept"), ("kept", "present"), ("kept", "absent"), ("removing", "absent"), ("removing", "adding"),
}  # fmt: skip


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("phase", PHASES)
def test_every_other_move_of_a_binding_is_refused(
    story: tuple[Cast, Request, Grant], app: psycopg.Connection, phase: str, *, found: bool
) -> None:
    if (phase, found) in (("removing", True), ("kept", False)):
        return  # cannot be: test_a_binding_only_moves_as_it_may
    # As superuser, past the triggers: any phase, as if a hole had led there.
    with connect("superuser", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(
            "INSERT INTO grants_rolebinding (idp_id, external_id, role, phase, found_before, generation)"
            " VALUES (%s, 'id-ben', 'r', %s, %s, 7)",
            [story[0].idp.pk, phase, found],
        )
    for to in PHASES:
        legal = to == phase or ((phase, to) in MOVES and (to, found) not in (("removing", True), ("kept", False)))
        sql = f"UPDATE grants_rolebinding SET phase = '{to}'"
        if (phase, to) == ("kept", "absent"):
            for judged in ("true", "false"):
                with pytest.raises(psycopg.Error, match="forgotten"):
                    app.execute(f"{sql}, found_before = {judged}")
            sql += ", found_before = NULL"
        if legal:
            with app.transaction(force_rollback=True):
                app.execute(sql)
        else:
            with pytest.raises(psycopg.Error) as caught:
                app.execute(sql)
            assert caught.value.sqlstate in (ILLEGAL_MOVE, "23514"), (phase, to)
        if phase != "absent" and (phase, to) != ("kept", "absent"):
            with pytest.raises(psycopg.Error):
                app.execute(f"{sql}, found_before = {not found}")  # judged again on the way
    with pytest.raises(psycopg.Error):
        app.execute("UPDATE grants_rolebinding SET generation = 6")


@pytest.mark.parametrize("born", ["'present', false", "'absent', true", "'removing', false"])
def test_a_binding_is_born_absent(story: tuple[Cast, Request, Grant], app: psycopg.Connection, born: str) -> None:
    with pytest.raises(psycopg.Error):
        app.execute(
            "INSERT INTO grants_rolebinding (idp_id, external_id, role, phase, found_before)"
            f" VALUES (%s, 'id-ben', 'r', {born})",
            [story[0].idp.pk],
        )
