"""Service tokens: who gets them, for how long, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from accounts import service_identities
from accounts.errors import Conflict, NotAllowed
from accounts.models import Subject
from grants import clock
from grants.audit.models import AuditEvent
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.tokens.mint import read
from grants.tokens.models import Credential
from tests.cast import Cast
from tests.tokens.scene import working

pytestmark = pytest.mark.django_db

type At = Callable[[datetime | timedelta | None], datetime]


@pytest.fixture
def grant(cast: Cast) -> Grant:
    """Ada may run etl/prod for two hours."""
    return decide.approve(cast.asks(minutes=120), by=cast.chiara).grants.get()


def last_event() -> AuditEvent:
    return AuditEvent.objects.latest("seq")


def test_issued_shown_once_kept_as_a_digest(cast: Cast, grant: Grant) -> None:
    issued = issue.issue(grant, by=cast.ada)
    kept = Credential.objects.get()
    assert bytes(kept.digest) == read(issued.token, "token")
    assert (kept.subject, kept.grant, kept.connection, kept.issued_by) == (cast.ada, grant, cast.connection, cast.ada)
    assert kept.expires_at - kept.issued_at == timedelta(hours=1)
    assert issued.token not in repr(issued)
    event = last_event()
    assert (event.verb, event.actor, event.seq) == ("token.issued", cast.ada.ref, kept.version)
    assert json.loads(bytes(event.payload)) == {"credentials": [kept.pk], "grant": grant.pk, "subject": cast.ada.pk}


def test_only_who_holds_it(cast: Cast, grant: Grant) -> None:
    for other in (cast.ben, cast.chiara, cast.priya, cast.oscar):
        assert not issue.may_issue(grant, other)
        with pytest.raises(NotAllowed, match="Only the holder"):
            issue.issue(grant, by=other)
    assert not Credential.objects.exists()


def test_of_a_machine_its_team_alone(cast: Cast) -> None:
    """Nor an admin, who has no rights at the gate, and would have the machine's."""
    grant = working(cast)
    for member in (cast.ada, cast.ben):
        assert issue.issue(grant, by=member).credential.subject == grant.beneficiary
    for other in (cast.chiara, cast.tomasz, cast.priya, cast.olga, cast.oscar):
        with pytest.raises(NotAllowed, match="the team that owns etl worker"):
            issue.issue(grant, by=other)


@pytest.mark.parametrize(
    ("lasts", "gets"),
    [(None, 60), (timedelta(minutes=1), 1), (timedelta(minutes=90), 90), (timedelta(days=9), 120)],
    ids=str,
)
def test_never_past_its_grant(cast: Cast, grant: Grant, at: At, lasts: timedelta | None, gets: int) -> None:
    at(clock.now())
    now = clock.now()
    until = issue.issue(grant, by=cast.ada, lasts=lasts).credential.expires_at
    assert until == min(now + timedelta(minutes=gets), grant.ends_at)
    at(timedelta(minutes=110))
    assert issue.issue(grant, by=cast.ada).credential.expires_at == grant.ends_at


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(seconds=59), timedelta(hours=-1)], ids=str)
def test_not_shorter_than_a_minute(cast: Cast, grant: Grant, lasts: timedelta) -> None:
    with pytest.raises(NotAllowed, match="one minute"):
        issue.issue(grant, by=cast.ada, lasts=lasts)


def test_of_work_it_lasts_and_drains_with_the_grant(cast: Cast) -> None:
    grant = working(cast, minutes=600)
    token = issue.issue(grant, by=cast.ada).credential
    assert token.expires_at == grant.drain_until == grant.ends_at + timedelta(minutes=20)
    assert issue.issue(grant, by=cast.ada, lasts=timedelta(minutes=5)).credential.expires_at < grant.ends_at


def test_none_for_access_that_is_over(cast: Cast, grant: Grant, at: At) -> None:
    access.give_back(grant, by=cast.ada)
    with pytest.raises(Conflict, match="over already"):
        issue.issue(grant, by=cast.ada)
    other = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    at(timedelta(minutes=31))
    assert issue.why_not(other, cast.ada) == f"{other.ref} is over already."
    with pytest.raises(Conflict):
        issue.issue(other, by=cast.ada)


def test_none_while_a_work_grant_drains(cast: Cast, at: At) -> None:
    grant = working(cast, minutes=60)
    at(timedelta(minutes=61))
    with pytest.raises(Conflict):
        issue.issue(grant, by=cast.ada)


def test_none_for_who_left(cast: Cast) -> None:
    grant = working(cast)
    service_identities.switch_off(grant.beneficiary, by=cast.ben)
    with pytest.raises(NotAllowed, match="switched off"):
        issue.issue(grant, by=cast.ada)


def test_not_without_end(cast: Cast, grant: Grant) -> None:
    first = issue.issue(grant, by=cast.ada).credential
    for _ in range(issue.LIVE_MAX - 1):
        issue.issue(grant, by=cast.ada)
    with pytest.raises(NotAllowed, match="20 tokens"):
        issue.issue(grant, by=cast.ada)
    issue.revoke(first, by=cast.ada)
    issue.issue(grant, by=cast.ada)


def test_rotated_the_old_one_is_refused(cast: Cast, grant: Grant, at: At) -> None:
    old = issue.issue(grant, by=cast.ada, lasts=timedelta(minutes=10)).credential
    at(timedelta(minutes=5))
    new = issue.rotate(old, by=cast.ada).credential
    old.refresh_from_db()
    new.refresh_from_db()
    assert old.revoked_at
    assert new.expires_at - new.issued_at == timedelta(minutes=10)
    event = last_event()
    assert event.verb == "token.rotated"
    assert event.seq == old.version == new.version
    with pytest.raises(Conflict, match="revoked already"):
        issue.rotate(old, by=cast.ada)
    at(timedelta(minutes=11))
    with pytest.raises(Conflict, match="over already"):
        issue.rotate(new, by=cast.ada)


def test_rotating_asks_the_same_as_issuing(cast: Cast, grant: Grant) -> None:
    old = issue.issue(grant, by=cast.ada).credential
    for other in (cast.ben, cast.chiara, cast.priya):
        with pytest.raises(NotAllowed):
            issue.rotate(old, by=other)
    access.revoke(grant, by=cast.chiara)
    with pytest.raises(Conflict):
        issue.rotate(old, by=cast.ada)


@pytest.mark.parametrize("who", ["ada", "chiara", "priya"])
def test_revoked_by_who_uses_it_owners_and_admins(cast: Cast, grant: Grant, who: str) -> None:
    token = issue.revoke(issue.issue(grant, by=cast.ada).credential, by=getattr(cast, who))
    assert token.revoked_at
    assert last_event().seq == token.version
    with pytest.raises(Conflict, match="revoked already"):
        issue.revoke(token, by=cast.ada)
    assert grant.is_live_at(clock.now())


def test_revoked_by_nobody_else(cast: Cast, grant: Grant) -> None:
    token = issue.issue(grant, by=cast.ada).credential
    for other in (cast.ben, cast.oscar, cast.olga):
        with pytest.raises(NotAllowed):
            issue.revoke(token, by=other)


def test_listed_with_why_they_no_longer_work(cast: Cast, grant: Grant, at: At) -> None:
    dead = issue.revoke(issue.issue(grant, by=cast.ada).credential, by=cast.ada)
    alive = issue.issue(grant, by=cast.ada).credential
    assert [(one.credential, one.over) for one in issue.of_grant(grant)] == [(alive, False), (dead, True)]
    access.revoke(grant, by=cast.chiara)  # no credential was touched
    assert [one.over for one in issue.of_grant(grant)] == [True, True]


def test_a_machine_s_token_is_over_after_the_drain(cast: Cast, at: At) -> None:
    grant = working(cast, minutes=60)
    issue.issue(grant, by=cast.ada)
    at(timedelta(minutes=70))
    assert [one.over for one in issue.of_grant(grant)] == [False]
    at(timedelta(minutes=11))
    assert [one.over for one in issue.of_grant(grant)] == [True]


def test_a_subject_knows_no_token_of_another(cast: Cast, grant: Grant) -> None:
    issue.issue(grant, by=cast.ada)
    assert Subject.objects.get(pk=cast.ben.pk).credentials.count() == 0
