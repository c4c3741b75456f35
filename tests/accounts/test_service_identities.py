"""Service identities belong to a team: its members and admins look after them, nobody signs in as one."""

from __future__ import annotations

import pytest
from django.db import connection

from accounts import service_identities
from accounts.errors import NotAllowed
from accounts.models import Identity, Subject, Team
from accounts.sso import Backend
from grants import clock
from grants.audit.models import AuditEvent
from grants.lifecycle import decide
from tests.cast import Cast
from tests.tokens.scene import asks_for, working

pytestmark = pytest.mark.django_db


@pytest.fixture
def ingest(cast: Cast) -> Team:
    return Team.objects.get(slug="ingest")


def test_a_member_makes_one_and_the_record_says_so(cast: Cast, ingest: Team) -> None:
    worker = service_identities.add(ingest, "  etl\n worker ", by=cast.ada)
    assert (worker.kind, worker.name, worker.team, worker.active) == ("service", "etl worker", ingest, True)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor, event.seq) == ("service.added", cast.ada.ref, worker.version)
    assert b"etl" not in bytes(event.payload)
    assert list(service_identities.owned_by(cast.ben)) == [worker]
    assert not service_identities.owned_by(cast.chiara)


def test_strangers_cannot_and_admins_can(cast: Cast, ingest: Team) -> None:
    for who in (cast.chiara, cast.oscar, cast.olga):
        with pytest.raises(NotAllowed, match="team ingest"):
            service_identities.add(ingest, "mine", by=who)
    worker = service_identities.add(ingest, "worker", by=cast.priya)
    for act in (service_identities.switch_off, service_identities.switch_on):
        with pytest.raises(NotAllowed):
            act(worker, by=cast.chiara)
    with pytest.raises(NotAllowed):
        service_identities.rename(worker, "mine", by=cast.chiara)
    # An admin looks after it, and has no part in what it holds.
    assert not service_identities.acts_for(cast.priya, worker)
    assert not service_identities.owned_by(cast.priya)


def test_names_are_told_apart_within_a_team(cast: Cast, ingest: Team) -> None:
    first = service_identities.add(ingest, "worker", by=cast.ada)
    second = service_identities.add(ingest, "agent", by=cast.ada)
    service_identities.add(Team.objects.get(slug="platform"), "worker", by=cast.chiara)
    for wrong in ("worker", "", " \t", "\x00"):
        with pytest.raises(NotAllowed):
            service_identities.add(ingest, wrong, by=cast.ada)
        with pytest.raises(NotAllowed):
            service_identities.rename(second, wrong, by=cast.ada)
    assert service_identities.rename(first, "etl", by=cast.ben).name == "etl"


def test_a_person_is_no_machine(cast: Cast) -> None:
    for act in (service_identities.switch_off, service_identities.switch_on):
        with pytest.raises(NotAllowed, match="is a person"):
            act(cast.ben, by=cast.priya)
    with pytest.raises(NotAllowed, match="is a person"):
        service_identities.rename(cast.ben, "x", by=cast.priya)


def test_switched_off_is_recorded_once(cast: Cast, ingest: Team) -> None:
    worker = service_identities.add(ingest, "worker", by=cast.ada)
    assert not service_identities.switch_off(worker, by=cast.ada).active
    before = AuditEvent.objects.count()
    service_identities.switch_off(worker, by=cast.ada)
    assert AuditEvent.objects.count() == before
    assert service_identities.switch_on(worker, by=cast.ben).version == before + 1


def test_switched_on_again_it_has_nothing(cast: Cast) -> None:
    """Though no sweeper ran meanwhile: it was told that what it held is closed."""
    grant = working(cast)
    service_identities.switch_off(grant.beneficiary, by=cast.ada)
    before = AuditEvent.objects.count()
    worker = service_identities.switch_on(grant.beneficiary, by=cast.ada)
    grant.refresh_from_db()
    assert not grant.is_live_at(clock.now())
    assert (grant.end_reason, grant.version) == ("left", worker.version)
    assert AuditEvent.objects.count() == before + 1
    again = decide.approve(asks_for(cast, worker, by=cast.ada), by=cast.chiara).grants.get()
    service_identities.switch_on(worker, by=cast.ada)  # it is on: nothing is closed
    again.refresh_from_db()
    assert again.is_live_at(clock.now())


def test_who_left_or_changed_teams_no_longer_acts_for_it(cast: Cast, ingest: Team) -> None:
    worker = service_identities.add(ingest, "worker", by=cast.ada)
    assert service_identities.acts_for(cast.ada, worker)
    cast.ada.active = False
    assert not service_identities.acts_for(cast.ada, worker)
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append('t','t','{}','{}',ARRAY[%s]::bigint[],'{}','{}')", [cast.ben.pk])
    cast.ben.memberships.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_append('t','t','{}','{}',ARRAY[%s]::bigint[],'{}','{}')", [cast.ben.pk])
    assert not service_identities.acts_for(cast.ben, worker)


def test_nobody_signs_in_as_a_machine(cast: Cast, ingest: Team) -> None:
    worker = service_identities.add(ingest, "worker", by=cast.ada)
    assert Backend().get_user(worker.pk) is None
    assert not Identity.objects.filter(subject=worker).exists()
    assert Subject.objects.get(pk=worker.pk).email == ""
