"""A provider that is away costs little, and once it is back everything is soon as it should be, the urgent first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.db import connection

from accounts.models import IdP
from grants import clock
from grants.adapters.errors import Refused, Unavailable
from grants.identity import providers
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant, RoleBinding
from grants.provisioning import health, leases
from grants.provisioning.calls import BACKLOG, CALLS
from grants.provisioning.health import MOST_TRIED, ROW, TRY_EVERY, Providers
from grants.provisioning.reconcile import reconcile, seconds_to_next
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.provisioning import crowd
from tests.provisioning.conftest import granted
from tests.provisioning.fake import FakeIdP

type Move = Callable[[datetime | timedelta | None], datetime]
type Away = Callable[[FakeKeycloak, Path], None]

PEOPLE = int(os.environ.get("STINT_TEST_CROWD", "200"))
pytestmark = pytest.mark.usefixtures("commits")


class Failures:
    """What was written down as failed, by how many statements."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows = self.batches = 0
        self._real = leases.fail
        patch.setattr(leases, "fail", self._fail)

    def _fail(self, failed: list[tuple[leases.Lease, str]]) -> None:
        self.rows += len(failed)
        self.batches += 1
        self._real(failed)


@pytest.fixture
def server(cast: Cast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeKeycloak:
    """The provider of the settings is a fake Keycloak, with a secret in a file."""
    server = FakeKeycloak()
    server.secret = uuid4().hex
    (tmp_path / "secret").write_text(server.secret)
    issuer = f"http://{uuid4().hex}/realms/test"  # each its own adapter
    IdP.objects.filter(pk=cast.idp.pk).update(kind="keycloak")
    env = {"idp_kind": "keycloak", "idp_slug": cast.idp.slug, "oidc_issuer": issuer, "idp_admin_url": None,
           "idp_admin_secret_ref": f"file:{tmp_path}/secret", "idp_role_client": "stint"}  # fmt: skip
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update=env))
    monkeypatch.setattr(providers, "KeycloakAdapter", partial(providers.KeycloakAdapter, transport=server.transport()))
    return server


def _fails(code: int) -> Away:
    return lambda server, _folder: server.fault("", "/", code, times=10**9)


def _breaks(error: type[httpx.TransportError]) -> Away:
    def act(_request: httpx.Request) -> httpx.Response:
        raise error("gone")

    return lambda server, _folder: server.fault("", "/", act, times=10**9)


def _rotated(server: FakeKeycloak, _folder: Path) -> None:
    """The old secret is refused, its tokens are dead, and the new one is not in the file yet."""
    server.secret = uuid4().hex
    server.fault("", "/admin/", 401, times=10**9)


AWAY: dict[str, Away] = {
    "its secret is not there": lambda _server, folder: (folder / "secret").unlink(),
    "its secret is another one": _rotated,
    "it cannot be reached": _breaks(httpx.ConnectError),
    "it breaks off": _breaks(httpx.ReadError),
    "it is not available": _fails(503),
    "it asks to slow down": _fails(429),
    "it fails": _fails(500),
    "it lacks the right": _fails(403),
    "all is not found": _fails(404),
}
_THROUGHOUT = {"it lacks the right", "all is not found"}  # may be one role's or person's own: each has its pauses


@contextmanager
def away(kind: str, server: FakeKeycloak, folder: Path) -> Iterator[None]:
    AWAY[kind](server, folder)
    yield
    server.faults.clear()
    (folder / "secret").write_text(server.secret)


@pytest.mark.parametrize("kind", AWAY)
def test_after_an_outage_all_is_right_at_once(
    cast: Cast, server: FakeKeycloak, tmp_path: Path, at: Move, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The clock stands: what had failed is not due for seconds, unless somebody sees that the provider is back."""
    at(timedelta(0))
    failures = Failures(monkeypatch)
    people = crowd.join(cast, server, PEOPLE)
    crowd.hold(cast, people)
    providers = Providers()
    with crowd.at_work(lambda more: reconcile(BACKLOG, more=more, providers=providers)):
        with away(kind, server, tmp_path):
            crowd.wait(lambda: failures.rows >= 2 * ROW, "It fails")
            if kind not in _THROUGHOUT:
                assert failures.rows <= ROW + 2 * BACKLOG + 2 * MOST_TRIED, "it is asked for ever"
        crowd.wait(lambda: not RoleBinding.objects.exclude(last_error="").exclude(phase="present")
                   .filter(due_at__gt=clock.now() + timedelta(seconds=1)).exists(), "All is tried at once")  # fmt: skip
        at(timedelta(seconds=1))
        crowd.wait(lambda: crowd.phases() == {"present": PEOPLE}, "All is given")
    assert all(server.mapped[pk][server.clients["stint"]] for pk in people)
    assert not RoleBinding.objects.exclude(last_error="", owed_since=None, attempts=0).exists()
    assert failures.batches <= failures.rows


def test_the_urgent_is_taken_up_first(cast: Cast, idp: FakeIdP, at: Move) -> None:
    """One of each kind, due in the wrong order."""
    at(timedelta(0))
    rechecked, elapsed, revoked = granted(cast, "view"), granted(cast, "run", minutes=5), granted(cast, "operate")
    turn = partial(reconcile, connect=lambda _idp: idp)
    turn()
    access.revoke(rechecked, by=cast.priya)
    turn()
    at(timedelta(minutes=10))
    decide.approve(cast.asks(cast.ben), by=cast.chiara)
    access.revoke(revoked, by=cast.priya)
    _, leased = leases.acquire(10)
    mine = [lease.role if lease.external_id == "id-ada" else "wanted" for lease in leased]
    assert mine == [revoked.role, elapsed.role, "wanted", rechecked.role]


def test_what_was_owed_waits_no_longer_because_something_else_changes(cast: Cast, idp: FakeIdP) -> None:
    grant = granted(cast)
    reconcile(connect=lambda _idp: idp)
    access.revoke(grant, by=cast.priya)
    granted(cast)
    assert RoleBinding.objects.get().urgency == RoleBinding.Urgency.ENDED


@pytest.mark.parametrize("how", ["some in hand", "all in hand"])
def test_a_revocation_overtakes_what_elapsed(
    cast: Cast, idp: FakeIdP, at: Move, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of many: those in a thread's hands are before it, and no others."""
    people = crowd.join(cast, FakeKeycloak(), 200)
    crowd.hold(cast, people, lasts=timedelta(minutes=5))
    grant = granted(cast)
    turn = partial(reconcile, connect=lambda _idp: idp, providers=Providers())
    while turn():
        pass
    at(timedelta(minutes=6))
    idp.calls.clear()
    taken: list[str] = []
    noticed = threading.Event()
    real = leases.acquire

    def acquire(*args: Any, **kwargs: Any) -> Any:
        count, leased = real(*args, **kwargs)
        if any(each.external_id == "id-ada" for each in leased):
            threading.Timer(0.5, noticed.set).start()  # once it is begun, however busy this machine is
        return count, leased

    monkeypatch.setattr(leases, "acquire", acquire)

    def before(verb: str, person: str, _role: str) -> None:
        if verb != "revoke":
            return
        taken.append(person)
        if len(taken) == 50:
            access.revoke(Grant.objects.get(pk=grant.pk), by=cast.priya)
            connection.close()
        if len(taken) > 50:
            assert noticed.wait(30)

    idp.before = before
    turn(200 if how == "all in hand" else BACKLOG, more=lambda: True)
    assert len(taken) == 201
    assert taken.index("id-ada") <= 50 + 2 * CALLS


class Moment:
    """The monotonic clock that the health of a provider goes by."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(health, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_a_provider_that_is_away_is_asked_a_little_each_second(
    cast: Cast, idp: FakeIdP, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = Moment(monkeypatch)
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 100))
    asked: list[int] = []

    def connect(idp_id: int) -> FakeIdP:
        asked.append(idp_id)
        raise Unavailable("It is down.")

    providers = Providers()
    reconcile(BACKLOG, connect=connect, more=lambda: True, providers=providers)
    assert providers.shut() == [cast.idp.pk]
    assert len(asked) <= ROW
    left = seconds_to_next(providers)
    assert left is not None
    assert left >= 0.8 * TRY_EVERY, "the sweeper does not spin while much is due"
    tried = []
    for _ in range(8):
        assert reconcile(BACKLOG, connect=connect, providers=providers) == 0
        moment.now += 1.2 * TRY_EVERY
        tried.append(reconcile(BACKLOG, connect=connect, providers=providers))
    assert tried == [1, 2, 4, 8, 16, 32, 32, 32]
    moment.now += 1.2 * TRY_EVERY
    assert reconcile(BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=providers) >= MOST_TRIED
    assert providers.shut() == []


def test_what_fails_for_its_own_reason_keeps_nobody_waiting(cast: Cast, idp: FakeIdP) -> None:
    """Many roles that can't be given are no provider that is away."""
    people = crowd.join(cast, FakeKeycloak(), 100)
    crowd.hold(cast, people)

    def refuse(verb: str, person: str, _role: str) -> None:
        if verb == "grant" and person != people[-1]:
            raise Refused("It administers the provider.")

    idp.before = refuse
    providers = Providers()
    reconcile(BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=providers)
    assert providers.shut() == []
    assert crowd.phases() == {"adding": 99, "present": 1}


@pytest.mark.parametrize("error", [Refused("It administers the provider."), Unavailable("It fails.", 500)])
def test_many_that_are_refused_do_not_hold_an_outage_on(
    cast: Cast, idp: FakeIdP, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The most urgent, more of them than are tried: while they say no, or always fail, the provider is there."""
    moment = Moment(monkeypatch)
    people = crowd.join(cast, FakeKeycloak(), 103)
    crowd.hold(cast, people)
    poisoned = RoleBinding.objects.exclude(external_id__in=people[:3])
    poisoned.update(urgency=RoleBinding.Urgency.ENDED)
    providers = Providers()
    turn = partial(reconcile, BACKLOG, connect=lambda _idp: idp, providers=providers)

    def down(*_: str) -> None:
        raise Unavailable("It is down.")

    idp.before = down
    turn()
    assert providers.shut() == [cast.idp.pk]

    def refuse(_verb: str, person: str, _role: str) -> None:
        if person not in people[:3]:
            raise error

    idp.before = refuse
    for _ in range(6):
        poisoned.update(due_at=clock.now(), urgency=RoleBinding.Urgency.ENDED)
        moment.now += 1.2 * TRY_EVERY
        turn(more=lambda: True)
    assert all(idp.roles[person] for person in people[:3])


def test_what_stint_itself_withholds_says_nothing_of_the_provider(cast: Cast) -> None:
    one = health.Health()
    for _ in range(ROW):
        one.failed("It is down.", its_own=True)
    one.failed("Not yet.", its_own=False)
    assert one.shut
    one.failed("It refuses.", its_own=False, answered=True)
    assert not one.shut
    one.failed("It is down.", its_own=True)
    assert not one.shut, "the row begins anew"


def test_failures_are_written_together(cast: Cast, idp: FakeIdP, django_assert_max_num_queries: Any) -> None:
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 50))
    _, leased = leases.acquire(50)
    assert len(leased) == 50
    with django_assert_max_num_queries(5):
        leases.fail([(lease, "It is down.") for lease in leased])
    assert RoleBinding.objects.filter(last_error="It is down.", lease=None).count() == 50
    assert idp.calls == []


def test_overdue_is_one_line_a_minute(
    cast: Cast, idp: FakeIdP, at: Move, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment, providers = Moment(monkeypatch), Providers()
    granted(cast, "view")
    granted(cast, "run")

    def down(*_: str) -> None:
        raise Unavailable("It is down.")

    idp.before = down
    lines: list[list[dict[str, Any]]] = []
    for _ in range(120):
        at(timedelta(seconds=1))
        moment.now += 1.2
        reconcile(connect=lambda _idp: idp, providers=providers)
        lines.append([record.msg for record in caplog.records if "roles_overdue" in str(record.msg)])
        caplog.clear()
    told = [(second, line) for second, its in enumerate(lines) for line in its]
    assert 2 <= len(told) <= 3, told
    second, line = told[0]
    assert second <= 13, "overdue after ten seconds"
    assert (line["overdue"], line["reason"]) == (2, "It is down.")
    assert line["failures"] > 2
