"""What an attack on the database says, and how it has to end."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

ILLEGAL_MOVE = "ST003"
UNSTAMPED = "ST004"


def refused(app: psycopg.Connection, sql: str, *params: object, state: str | None = None) -> None:
    """The statement, and its commit, must fail; `state` is the SQLSTATE when one of ours is meant."""
    with pytest.raises(psycopg.Error) as caught:
        app.execute(sql, params)
    if state:
        assert caught.value.sqlstate == state, caught.value
    else:
        assert isinstance(caught.value, errors.InsufficientPrivilege | errors.IntegrityError), caught.value
