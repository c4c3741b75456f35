"""What happens when they press at once: exactly one outcome, and the loser is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.errors import UserError
from grants import clock, tasks
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.due import DueJob
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant, Request
from grants.tokens.delivery import base, files
from grants.tokens.mint import read
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.tokens.scene import working


@pytest.fixture(autouse=True)
def no_heads(settings: Settings, tmp_path: Path) -> None:
    settings.ENV = settings.ENV.model_copy(update={"audit_heads_file": tmp_path / "heads"})


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run each in a thread with its own connection, started together; results or what they raised."""
    barrier = Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(n: int, action: Callable[[], Any]) -> None:
        connection.ensure_connection()
        barrier.wait()
        try:
            results[n] = action()
        except Exception as error:  # noqa: BLE001 (judged by the test)
            results[n] = error
        finally:
            connection.close()

    threads = [Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.usefixtures("commits")
@pytest.mark.parametrize("turn", range(10))
def test_two_of_two_at_once_end_with_one_grant(cast: Cast, turn: int) -> None:
    request = cast.asks(cast.ada, (cast.pool, "run"))
    results = at_once(
        lambda: decide.approve(request, by=cast.chiara),
        lambda: decide.approve(request, by=cast.tomasz),
    )
    assert all(isinstance(result, Request) for result in results), results
    assert Grant.objects.count() == 1
    assert AuditEvent.objects.filter(verb="request.approved").count() == 1
    assert verify().whole


@pytest.mark.usefixtures("commits")
def test_many_clicks_of_one_approver_are_one_decision(cast: Cast) -> None:
    request = cast.asks()
    results = at_once(*[lambda: decide.approve(request, by=cast.chiara)] * 6)
    assert sum(isinstance(result, Request) for result in results) == 1
    assert all(isinstance(result, Request | UserError) for result in results), results
    assert (Grant.objects.count(), request.decisions.count()) == (1, 1)


@pytest.mark.usefixtures("commits")
def test_approve_deny_and_withdraw_at_once_have_one_outcome(cast: Cast) -> None:
    for _ in range(5):
        request = cast.asks()
        results = at_once(
            lambda r=request: decide.approve(r, by=cast.chiara),
            lambda r=request: decide.deny(r, by=cast.tomasz),
            lambda r=request: decide.withdraw(r, by=cast.ada),
        )
        assert sum(isinstance(result, Request) for result in results) == 1, results
        assert all(isinstance(result, Request | UserError) for result in results), results
        request.refresh_from_db()
        assert request.grants.count() == (request.state == "approved")
    assert verify().whole


@pytest.mark.usefixtures("commits")
def test_the_same_ask_at_once_is_one_request(cast: Cast) -> None:
    results = at_once(*[lambda: cast.asks(key="same")] * 5)
    assert {result.pk for result in results if isinstance(result, Request)} == {Request.objects.get().pk}
    assert all(isinstance(result, Request) for result in results), results


@pytest.mark.usefixtures("commits")
def test_give_back_and_revoke_at_once_end_it_once(cast: Cast) -> None:
    grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    results = at_once(lambda: access.give_back(grant, by=cast.ada), lambda: access.revoke(grant, by=cast.chiara))
    assert sum(isinstance(result, Grant) for result in results) == 1
    assert sum(isinstance(result, UserError) for result in results) == 1


@pytest.mark.usefixtures("commits")
def test_two_messages_for_one_delivery_make_one_token(
    cast: Cast, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would take the other's token for lost and revoke it, and who wrote last might have been revoked."""
    settings.ENV = settings.ENV.model_copy(update={"token_dir": tmp_path})
    grant = working(cast)
    base.begin(grant.beneficiary, by=cast.ada)
    write, waits = files._write, iter((1.0, 0.2))

    def slowly(path: Path, token: str) -> None:
        time.sleep(next(waits))
        write(path, token)

    monkeypatch.setattr(files, "_write", slowly)
    at_once(*[lambda: tasks.run(f"token:{grant.beneficiary_id}")] * 2)
    token = files.path_of(grant.beneficiary_id, grant.resource_id, grant.level).read_text().strip()
    assert Credential.objects.get(digest=read(token)).revoked_at is None
    assert Credential.objects.count() == 1
    tasks.run(f"token:{grant.beneficiary_id}")  # the lock is not kept
    assert DueJob.objects.get(name=f"token:{grant.beneficiary_id}").lease_until is None


@pytest.mark.usefixtures("commits")
def test_sweepers_close_each_grant_once(cast: Cast, at: Callable[[Any], Any]) -> None:
    for level in ("view", "run", "operate"):
        decide.approve(cast.asks(cast.ada, (cast.deployment, level)), by=cast.chiara)
    at(clock.now() + timedelta(hours=1))
    results = at_once(*[lambda: access.close_elapsed(limit=2)] * 4)
    assert sum(results) == 3
    assert AuditEvent.objects.filter(verb="grant.elapsed").count() == 3
    assert verify().whole
