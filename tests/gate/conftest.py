from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gate.prefect.world import World, running_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as made:
        yield made
