"""Connections from a file, and the commands that handle them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction

from accounts.errors import NotAllowed
from grants import clock
from grants.adapters.errors import AdapterError, Unavailable, Unsupported
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.catalog import sync
from grants.catalog.connections import apply_connections
from grants.catalog.models import Connection
from grants.catalog.specs import ConnectionSpec
from grants.due import DueJob
from tests.catalog.stub import Stub, pool

pytestmark = pytest.mark.django_db

PROD = ConnectionSpec("prefect-prod", "prefect", "http://p.test/api", "production", "platform", "env:PREFECT_PROD")
FILE = """\
connections:
  - slug: prefect-prod
    kind: prefect
    url: http://p.test/api
    environment: production
"""


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_new_one_is_added_recorded_and_due_now() -> None:
    (applied,) = apply_connections([PROD], by="cli")
    assert applied.sentence == "prefect-prod: added"
    row = Connection.objects.get()
    assert (row.slug, row.owner_team, row.secret_ref) == ("prefect-prod", "platform", "env:PREFECT_PROD")
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor) == ("connection.applied", "cli")
    assert row.version == event.seq
    assert DueJob.objects.get(name="sync:prefect-prod").due_at <= clock.now()


def test_hosts_are_exchanged_in_one_go_and_never_shared() -> None:
    stage = PROD._replace(slug="prefect-stage", host="stage.example.org")
    apply_connections([PROD._replace(host="prefect.example.org"), stage], by="cli")
    swapped = [PROD._replace(host="stage.example.org"), stage._replace(host="prefect.example.org")]
    assert [one.fields for one in apply_connections(swapped, by="cli")] == [("host",), ("host",)]
    assert dict(Connection.objects.values_list("slug", "host")) == {one.slug: one.host for one in swapped}
    with (
        pytest.raises(NotAllowed, match=r"prefect\.example\.org is the host of prefect-stage") as caught,
        transaction.atomic(),
    ):
        apply_connections([PROD._replace(host="prefect.example.org")], by="cli")
    assert (caught.value.code, caught.value.params) == (
        "host_taken", {"host": "prefect.example.org", "slug": "prefect-stage"},
    )  # fmt: skip


def test_applying_again_changes_nothing() -> None:
    apply_connections([PROD], by="cli")
    DueJob.objects.update(due_at=clock.now() + timedelta(hours=1))
    before = AuditEvent.objects.count()
    (applied,) = apply_connections([PROD], by="cli")
    assert applied.sentence == "prefect-prod: as it was"
    assert AuditEvent.objects.count() == before
    assert DueJob.objects.get(name="sync:prefect-prod").due_at > clock.now()


def test_a_change_is_said_recorded_and_due() -> None:
    apply_connections([PROD], by="cli")
    DueJob.objects.update(due_at=clock.now() + timedelta(hours=1))
    (applied,) = apply_connections([PROD._replace(url="http://q.test/api", owner="")], by="cli")
    assert applied.sentence == "prefect-prod: changed url, owner"
    row = Connection.objects.get()
    assert (row.url, row.owner_team) == ("http://q.test/api", "")
    assert row.version == AuditEvent.objects.latest("seq").seq
    assert DueJob.objects.get(name="sync:prefect-prod").due_at <= clock.now()


def test_one_that_the_file_no_longer_names_stays() -> None:
    apply_connections([PROD, PROD._replace(slug="lab")], by="cli")
    apply_connections([PROD], by="cli")
    assert Connection.objects.count() == 2


def test_another_kind_under_a_known_slug_changes_nothing_at_all() -> None:
    apply_connections([PROD], by="cli")
    with pytest.raises(NotAllowed, match="prefect-prod is of another kind") as caught, transaction.atomic():
        apply_connections([PROD._replace(slug="new"), PROD._replace(kind="airflow")], by="cli")
    assert (caught.value.code, caught.value.params) == ("kind_changed", {"slug": "prefect-prod"})
    assert Connection.objects.get().kind == "prefect"


def test_the_command_says_why_a_file_is_refused(tmp_path: Path) -> None:
    apply_connections([PROD, PROD._replace(slug="stage", host="p.example.org")], by="cli")
    Connection.objects.filter(slug="prefect-prod").update(kind="airflow")
    record(Verb.CONNECTION_APPLIED, by="test", on=Connection.objects.all())
    file = tmp_path / "connections.yaml"
    for text, why in (
        (FILE, "prefect-prod is of another kind already; give the new orchestrator a slug of its own."),
        (FILE.replace("prefect-prod", "new") + "    host: p.example.org\n",
         "p.example.org is the host of stage already, which the file does not name."),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(CommandError) as caught:
            run("connections", "apply", str(file))
        assert str(caught.value) == f"{why} Nothing was changed."


def test_the_command_applies_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(FILE)
    assert run("connections", "apply", str(file)) == "prefect-prod: added\n"
    assert run("connections", "list") == "prefect-prod: prefect, production, http://p.test/api, never synced\n"


@pytest.mark.parametrize(
    "text",
    ["connections: [", "connections:\n  - slug: UPPER\n", "policy: 1\n", FILE + FILE.partition("\n")[2]],
)
def test_a_broken_file_names_the_place_and_changes_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"connections\.yaml:\d+:\d+: [\s\S]*Nothing was changed\."):
        run("connections", "apply", str(file))
    assert not Connection.objects.exists()


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        run("connections", "apply", str(tmp_path / "none.yaml"))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    stub.close = lambda: None  # type: ignore[method-assign]
    monkeypatch.setattr(sync, "ORCHESTRATORS", {"prefect": lambda connection: stub})
    apply_connections([PROD], by="cli")
    return stub


def test_sync_prints_and_succeeds(stub: Stub) -> None:
    stub.has = [pool("a")]
    assert run("sync", "prefect-prod") == "prefect-prod: 2 live, 2 new.\n"


def test_sync_fails_aloud(stub: Stub) -> None:
    stub.error = Unavailable("prefect-prod cannot be reached.")
    out = io.StringIO()
    with pytest.raises(CommandError, match="Not everything is in sync"):
        call_command("sync", "prefect-prod", stdout=out)
    assert out.getvalue() == "prefect-prod: failed. prefect-prod cannot be reached.\n"


def test_what_is_held_is_accepted_by_name_only(stub: Stub) -> None:
    stub.has = [pool(f"p{n}") for n in range(10)]
    run("sync", "prefect-prod")
    stub.has = []
    with pytest.raises(CommandError):
        run("sync", "prefect-prod")
    with pytest.raises(CommandError, match="Name the connection"):
        run("sync", "--accept-vanished")
    assert "10 retired" in run("sync", "prefect-prod", "--accept-vanished")


def test_an_unknown_slug_is_an_error(stub: Stub) -> None:
    with pytest.raises(CommandError, match="There is no connection lab, nowhere"):
        run("sync", "nowhere", "prefect-prod", "lab")


def test_the_list_tells_how_the_last_sync_went(db: None, stub: Stub, at: Callable[..., Any]) -> None:
    at(clock.now())
    run("sync", "prefect-prod")
    stub.error = Unavailable("It is down.")
    with pytest.raises(CommandError):
        run("sync", "prefect-prod")
    assert run("connections", "list").endswith("UTC, last try failed: It is down.\n")


# The version of the server.


class Aged(Stub):
    """One that says of itself what it is told to, or fails with it."""

    def __init__(self, version: str | AdapterError) -> None:
        super().__init__()
        self.says = version

    def version(self) -> str:
        if isinstance(self.says, AdapterError):
            raise self.says
        return self.says

    def close(self) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | AdapterError], None]:
    def is_(version: str | AdapterError) -> None:
        monkeypatch.setattr(sync, "ORCHESTRATORS", {"prefect": lambda connection: Aged(version)})

    return is_


def test_a_server_below_the_floor_is_not_applied(server: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(FILE)
    server(Unsupported("prefect-prod cannot be served. It is Prefect 3.6.13; Stint needs 3.6.14 or later: why."))
    with pytest.raises(CommandError, match=r"3\.6\.13.*Nothing was changed"):
        run("connections", "apply", str(file))
    assert not Connection.objects.exists()


def test_a_server_that_cannot_be_asked_is_applied_and_it_is_said(server: Callable[..., None], tmp_path: Path) -> None:
    file, err = tmp_path / "connections.yaml", io.StringIO()
    file.write_text(FILE)
    server(Unavailable("prefect-prod cannot be reached."))
    call_command("connections", "apply", str(file), stdout=io.StringIO(), stderr=err)
    assert "its version is not known yet" in err.getvalue()
    assert "prefect-prod cannot be reached." in err.getvalue()
    assert Connection.objects.get().server_version == ""


def test_the_version_is_kept_at_each_sync_and_a_newer_one_is_warned_of(server: Callable[..., None]) -> None:
    apply_connections([PROD], by="cli")
    connection = Connection.objects.get()
    server("3.10.2")
    assert "Prefect 3.10.2 is newer than 3.9" in run("sync", "prefect-prod")
    assert "prefect 3.10.2" in run("connections", "list")
    server("3.6.14")
    outcome = sync.sync_connection(connection)
    assert (outcome.ok, outcome.why) == (True, "")
    connection.refresh_from_db()
    assert connection.server_version == "3.6.14"


def test_a_server_that_was_downgraded_below_the_floor_is_not_synced(server: Callable[..., None]) -> None:
    apply_connections([PROD], by="cli")
    connection = Connection.objects.get()
    server("3.9.1")
    sync.sync_connection(connection)
    server(Unsupported("prefect-prod cannot be served."))
    assert not sync.sync_connection(connection).ok
    connection.refresh_from_db()
    assert connection.error == "prefect-prod cannot be served."
