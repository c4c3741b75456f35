"""The same with the real Keycloak, killed and started again in the middle; judged by an admin client of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import override

import pytest
from pytest_django import DjangoDbBlocker

from grants.due import ProcessBeat
from grants.lifecycle.models import RoleBinding
from portal.demo import keycloak as server
from portal.embedded import EmbeddedError
from tests.chaos import judge
from tests.chaos.stage import TEAMS, Stage, staged, until
from tests.real.keycloak import Realm
from tests.real.prefect import missing

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chaos-2")]


class Durable(server.Keycloak):
    """H2 writes up to half a second late; another database would have kept what Keycloak had answered for."""

    @override
    def command(self) -> list[str]:
        return [f"{word};WRITE_DELAY=0" if word.startswith("--db-url=") else word for word in super().command()]


@pytest.fixture
def stage(django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    with staged(django_db_blocker, people=8) as stage:
        yield stage


@pytest.fixture
def keycloak(tmp_path: Path) -> Iterator[Durable]:
    running = Durable(tmp_path / "keycloak")
    try:
        running.start()
    except EmbeddedError as error:
        missing(f"Keycloak ({error})")
    yield running
    running.kill()


def test_restarted_in_the_middle(stage: Stage, keycloak: Durable, request: pytest.FixtureRequest) -> None:
    people = [{"username": name, "name": name.title(), "email": f"{name}@example.org",
               "groups": [TEAMS.get(name, "ingest")] if name in TEAMS or name in stage.people else []}
              for name in stage.external]  # fmt: skip
    realm = Realm(keycloak.url, people=people)
    request.addfinalizer(realm.http.close)
    stage.move_to(realm.issuer, {name: realm.user(name) for name in stage.external})
    stage.more_env = {"STINT_CHAOS_SECRET": realm.provisioner_secret}
    had, *rest = stage.people
    realm.map(realm.user(had), realm.make(stage.role(), realm.stint), realm.stint)
    stage.start_valkey()
    stage.keep_workers(2)
    until(lambda: ProcessBeat.objects.count() >= 2, "two workers are there")

    ends, overlaps, stays, given_while_down, ended_while_down, short, again = rest
    before = stage.gets(had, 600)
    stage.gets(stays, 600)
    one, other = stage.gets(overlaps, 600), stage.gets(overlaps, 600)
    over = [stage.gets(name, 600) for name in (ends, ended_while_down, again)]
    until(lambda: RoleBinding.objects.filter(phase="present").count() == 6, "given")
    for name in (had, stays, overlaps, ends, ended_while_down, again):
        assert realm.roles(realm.user(name)) == {stage.role()}

    stage.gets(short, 3)
    stage.ends(before, revoked=False)
    stage.ends(over[0], revoked=False)
    stage.ends(over[2], revoked=True)  # calls are in flight, or about to be
    keycloak.kill()
    stage.gets(given_while_down, 600)
    stage.ends(over[1], revoked=True)
    stage.ends(one, revoked=True)
    stage.gets(again, 600)
    stage.kill(stage.running()[0])
    stage.keep_workers(2)
    time.sleep(2)  # tries fail meanwhile
    keycloak.start()

    judge.rest(stage)
    realm.login()
    wanted = {had, stays, overlaps, given_while_down, again}
    held = {name: realm.roles(realm.user(name)) for name in stage.people}
    assert held == {name: {stage.role()} if name in wanted else set() for name in stage.people}
    judge.bindings_are_at_rest(stage)
    judge.record_is_whole(stage)
    stage.ends(other, revoked=True)
    until(lambda: realm.roles(realm.user(overlaps)) == set(), "taken with the last of two")
