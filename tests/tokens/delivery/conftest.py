from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from grants import clock
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.policy import versions
from grants.tokens.delivery import files
from grants.tokens.mint import read
from grants.tokens.models import Credential
from tests.cast import POLICY, Cast
from tests.tokens.scene import WORKERS, asks_for, machine

type At = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.ENV = settings.ENV.model_copy(update={"token_dir": tmp_path / "tokens"})
    return tmp_path / "tokens"


@pytest.fixture
def job(cast: Cast, at: At) -> Grant:
    """A CI job that may run etl/prod for two hours: its tokens last one."""
    at(clock.now())
    versions.apply(POLICY + WORKERS, by=None)
    request = asks_for(
        cast, machine("ingest", cast.ada, "ci"), by=cast.ada, minutes=120, resource=cast.deployment, level="run"
    )
    return decide.approve(request, by=cast.chiara).grants.get()


def file_of(grant: Grant) -> Path:
    return files.path_of(grant.beneficiary_id, grant.resource_id, grant.level)


def delivered(grant: Grant) -> Credential:
    return Credential.objects.get(digest=read(file_of(grant).read_text().strip()))
