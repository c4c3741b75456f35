from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from grants.lifecycle import decide
from grants.lifecycle.models import Grant, Request
from grants.tokens import issue
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.conftest import connect


@pytest.fixture
def app(commits: None) -> Iterator[psycopg.Connection]:
    with connect("stint_app", autocommit=True) as connection:
        yield connection


@pytest.fixture
def story(commits: None, cast: Cast) -> tuple[Cast, Request, Grant]:
    """A pending request R (deployment) and a live grant of another (operate)."""
    approved = decide.approve(cast.asks(cast.ada, (cast.deployment, "operate")), by=cast.chiara)
    return cast, cast.asks(), approved.grants.get()


@pytest.fixture
def gate(commits: None) -> Iterator[psycopg.Connection]:
    with connect("stint_gate", autocommit=True) as connection:
        yield connection


@pytest.fixture
def grant(commits: None, cast: Cast) -> Grant:
    return decide.approve(cast.asks(minutes=120), by=cast.chiara).grants.get()


@pytest.fixture
def token(cast: Cast, grant: Grant) -> Credential:
    return issue.issue(grant, by=cast.ada).credential
