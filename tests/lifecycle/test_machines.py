"""Access of service identities: asked for by a member of the team, judged as the team, granted like a person's."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core import mail

from accounts import service_identities
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from grants import clock
from grants.audit.models import AuditEvent
from grants.lifecycle import access, decide, visibility
from grants.lifecycle.ask import Wanted, ask, preview
from grants.lifecycle.models import Grant, RoleBinding
from grants.notifications.mail import messages
from grants.policy import versions
from tests.cast import POLICY, Cast
from tests.tokens.scene import WORKERS, asks_for, machine, working

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker(cast: Cast) -> Subject:
    versions.apply(POLICY + WORKERS, by=None)
    return machine("ingest", cast.ada)


def test_asked_for_approved_and_held(cast: Cast, worker: Subject) -> None:
    seen = preview([Wanted(cast.pool, "work")], by=cast.ada, beneficiary=worker, duration=timedelta(hours=1))
    assert seen.problem == ""
    assert seen.ends_at
    assert seen.drain_until == seen.ends_at + timedelta(minutes=20)
    request = asks_for(cast, worker, by=cast.ada)
    assert (request.requester, request.beneficiary) == (cast.ada, worker)
    assert json.loads(bytes(AuditEvent.objects.latest("seq").payload))["subject"] == worker.pk
    grant = decide.approve(request, by=cast.chiara).grants.get()
    assert (grant.beneficiary, grant.level, grant.idp, grant.role) == (worker, "work", None, None)
    assert grant.drain_until - grant.ends_at == timedelta(minutes=20)
    assert not RoleBinding.objects.exists()
    assert visibility.grant_of(cast.ben, grant.pk) == grant  # a team mate
    assert visibility.request_of(cast.ben, request.pk) == request
    assert visibility.grant_of(cast.oscar, grant.pk) is None


def test_only_members_of_the_team_ask_for_it(cast: Cast, worker: Subject) -> None:
    for other in (cast.chiara, cast.oscar, cast.priya):
        with pytest.raises(NotAllowed, match="of your own teams"):
            asks_for(cast, worker, by=other)
    with pytest.raises(NotAllowed, match="of your own teams"):
        asks_for(cast, cast.ben, by=cast.ada)  # nor for a team mate


def test_work_is_for_machines(cast: Cast, worker: Subject) -> None:
    with pytest.raises(NotAllowed, match="for machines"):
        cast.asks(cast.ada, (cast.pool, "work"))


def test_it_is_judged_as_its_team_and_as_nobody_by_name(cast: Cast, worker: Subject) -> None:
    """Ada alone may ask for it; what her team's machine holds, all of the team could use."""
    named = WORKERS.replace(
        "ask: [{team: ingest}, {team: platform}]", f"ask: [{{person: {{idp: {cast.idp.slug}, username: ada}}}}]"
    )
    versions.apply(POLICY + named, by=None)
    with pytest.raises(NotAllowed, match="not among them"):
        asks_for(cast, worker, by=cast.ada)
    versions.apply(POLICY + WORKERS.replace("{team: ingest}, ", ""), by=None)
    with pytest.raises(NotAllowed, match="not among them"):
        asks_for(cast, worker, by=cast.ada)


def test_who_asks_does_not_decide_and_a_team_mate_may(cast: Cast) -> None:
    versions.apply(POLICY + WORKERS, by=None)
    own = machine("platform", cast.chiara)
    request = asks_for(cast, own, by=cast.chiara)
    with pytest.raises(NotAllowed, match="asked for this yourself"):
        decide.approve(request, by=cast.chiara)
    assert decide.approve(request, by=cast.tomasz).state == "approved"


def test_a_machine_decides_nothing(cast: Cast) -> None:
    versions.apply(POLICY + WORKERS, by=None)
    own = machine("platform", cast.chiara)
    request = cast.asks()
    with pytest.raises(NotAllowed, match="not among those"):
        decide.approve(request, by=own)
    assert own not in decide.stages_of(request)[0].approvers


def test_a_key_is_good_for_one_beneficiary(cast: Cast, worker: Subject) -> None:
    terms = {"duration": timedelta(hours=1), "reason": "The nightly loads run.", "idempotency_key": "k"}
    request = ask([Wanted(cast.deployment, "run")], by=cast.ada, **terms)
    assert ask([Wanted(cast.deployment, "run")], by=cast.ada, beneficiary=cast.ada, **terms) == request
    with pytest.raises(Conflict, match="other contents"):
        ask([Wanted(cast.deployment, "run")], by=cast.ada, beneficiary=worker, **terms)


def test_one_pending_ask_for_one_thing(cast: Cast, worker: Subject) -> None:
    first = asks_for(cast, worker, by=cast.ada)
    with pytest.raises(NotAllowed, match=f"Your team asked for work on etl already: {first.ref}"):
        asks_for(cast, worker, by=cast.ben)


@pytest.mark.parametrize("when", ["before", "between"])
def test_switched_off_gets_nothing(cast: Cast, worker: Subject, when: str) -> None:
    if when == "before":
        service_identities.switch_off(worker, by=cast.ada)
        with pytest.raises(NotAllowed, match="etl worker is switched off"):
            asks_for(cast, worker, by=cast.ada)
        return
    request = asks_for(cast, worker, by=cast.ada)
    service_identities.switch_off(worker, by=cast.ben)
    with pytest.raises(NotAllowed, match=r"etl worker is switched off\.$"):
        decide.approve(request, by=cast.chiara)


def test_switched_off_loses_what_it_holds(cast: Cast) -> None:
    grant = working(cast)
    service_identities.switch_off(grant.beneficiary, by=cast.ben)
    assert access.close_left() == 1
    grant.refresh_from_db()
    assert grant.end_reason == "left"
    assert grant.drained_at == grant.ended_at  # no drain after that


def test_given_back_by_a_team_mate_it_drains_revoked_it_does_not(cast: Cast, at: Callable[[timedelta], object]) -> None:
    given, revoked = working(cast), None
    at(timedelta(minutes=10))
    with pytest.raises(NotAllowed):
        access.give_back(given, by=cast.chiara)
    given = access.give_back(given, by=cast.ben)
    assert given.ended_at
    assert given.drained_at == given.ended_at + timedelta(minutes=20)
    revoked = decide.approve(asks_for(cast, given.beneficiary, by=cast.ben), by=cast.chiara).grants.get()
    revoked = access.revoke(revoked, by=cast.chiara)
    assert revoked.drained_at == revoked.ended_at


def test_only_work_drains_and_by_the_strictest_rule_of_the_approval(cast: Cast, worker: Subject) -> None:
    stricter = WORKERS.replace("name: workers", "name: workers-too").replace("drain: 20m", "drain: 0m")
    request = asks_for(cast, worker, by=cast.ada)
    versions.apply(POLICY + WORKERS + stricter, by=None)
    grant = decide.approve(request, by=cast.chiara).grants.get()
    assert grant.drain_until == grant.ends_at
    other = asks_for(cast, worker, by=cast.ada, resource=cast.deployment, level="run")
    run = decide.approve(other, by=cast.chiara).grants.get()
    assert run.drain_until == run.ends_at
    assert Grant.objects.live_at(clock.now()).filter(beneficiary=worker).count() == 2


def test_approvers_read_for_whom_it_is(cast: Cast, worker: Subject) -> None:
    asks_for(cast, worker, by=cast.ada)
    told = list(messages(AuditEvent.objects.get(verb="request.asked")))
    assert {one.to[0] for one in told} == {cast.chiara.email, cast.tomasz.email}
    assert "Ada asks for this on behalf of etl worker" in told[0].body


def test_who_asked_is_told_when_a_machine_loses_access(cast: Cast) -> None:
    access.revoke(working(cast), by=cast.chiara)
    (told,) = messages(AuditEvent.objects.get(verb="grant.revoked"))
    assert isinstance(told, mail.EmailMessage)
    assert told.to == [cast.ada.email]
