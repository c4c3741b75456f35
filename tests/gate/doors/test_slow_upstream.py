"""What the gate asks an orchestrator for itself has one end, however slowly the answer drips."""

from __future__ import annotations

import time

import pytest

from grants.gate.decision.limits import Limits
from grants.gate.decision.types import Upstream
from grants.gate.doors.upstream import Client, Orchestrator, Unanswered
from grants.gate.prefect.kind import PREFECT
from tests.adapters import test_slow_servers as slow
from tests.gate.loop import run


@pytest.mark.parametrize("manner", [slow.silent, slow.head, slow.body, slow.chunks])
def test_a_lookup_ends_in_time(manner: slow.Manner) -> None:
    async def ask(url: str) -> object:
        prefect = Upstream("p", "prefect", "p.test", f"{url}/api", "staging", "")
        async with Client(Limits(answer=0.5), scheme="https") as client:
            return await Orchestrator(client, prefect, PREFECT).json("GET", "/api/x")

    with slow.serving(manner) as url:
        begun = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            run(ask(url))
        assert caught.value.refusal.status == 504
        assert time.monotonic() - begun < 5  # of the ten that it would take
