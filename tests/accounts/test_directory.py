"""People and teams follow the directory; a broken listing switches nobody off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from accounts import directory
from accounts.idp import default
from accounts.models import Identity, Membership, Subject
from grants.adapters.errors import Unavailable
from grants.adapters.idp.base import DirectoryPerson, Finding
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.audit.verify import verify
from grants.identity.directory import sync_directory
from tests.cast import Cast

EVERYBODY = ("ada", "ben", "chiara", "tomasz", "priya", "olga", "oscar")


def listed(*names: str, **changes: dict[str, object]) -> list[DirectoryPerson]:
    groups = {"ada": ("ingest",), "ben": ("ingest",), "chiara": ("platform",), "tomasz": ("platform",),
              "priya": ("stint-admins",), "olga": ("stint-auditors",)}  # fmt: skip
    people = []
    for name in names:
        person = DirectoryPerson(f"id-{name}", name, name.title(), f"{name}@example.org", True, groups.get(name, ()))
        people.append(person._replace(**changes.get(name, {})))
    return people


def test_nothing_new_is_no_event(cast: Cast) -> None:
    before = AuditEvent.objects.count()
    assert directory.apply_listing(default(), listed(*EVERYBODY)) == directory.DirectoryChanges(0, 0, 0, 0)
    assert AuditEvent.objects.count() == before


def test_who_never_signed_in_is_known(cast: Cast) -> None:
    outcome = directory.apply_listing(default(), [*listed(*EVERYBODY), *listed("grace", grace={"groups": ("sre",)})])
    assert outcome.added == 1
    grace = Identity.objects.get(external_id="id-grace").subject
    assert grace.memberships.get().team.slug == "sre"
    assert AuditEvent.objects.latest("seq").verb == "directory.synced"


def test_a_move_to_another_team(cast: Cast) -> None:
    directory.apply_listing(default(), listed(*EVERYBODY, chiara={"groups": ("ingest",), "name": "Chiara Lang"}))
    assert [m.team.slug for m in cast.chiara.memberships.all()] == ["ingest"]
    cast.chiara.refresh_from_db()
    assert cast.chiara.name == "Chiara Lang"


def test_what_was_given_in_the_portal_stays(cast: Cast) -> None:
    Membership.objects.filter(subject=cast.chiara).update(source="portal")
    record(Verb.SUBJECT_CHANGED, by="test", on=[cast.chiara])
    directory.apply_listing(default(), listed(*EVERYBODY, chiara={"groups": ()}))
    assert cast.chiara.memberships.count() == 1


def test_who_left_is_switched_off_and_may_come_back(cast: Cast) -> None:
    without = [name for name in EVERYBODY if name != "oscar"]
    assert directory.apply_listing(default(), listed(*without)).left == 1
    assert not Subject.objects.get(pk=cast.oscar.pk).active
    assert directory.apply_listing(default(), listed(*EVERYBODY)).changed == 1
    assert Subject.objects.get(pk=cast.oscar.pk).active


def test_disabled_there_is_off_here(cast: Cast) -> None:
    directory.apply_listing(default(), listed(*EVERYBODY, chiara={"enabled": False}))
    chiara = Subject.objects.get(pk=cast.chiara.pk)
    assert not chiara.active
    assert not chiara.memberships.exists()


def test_too_many_gone_at_once_are_held(cast: Cast) -> None:
    outcome = directory.apply_listing(default(), listed("ada", "ben"))
    assert (outcome.left, outcome.held) == (0, 5)
    assert Subject.objects.filter(active=True).count() == 7
    cast.idp.refresh_from_db()
    assert "vanished" in cast.idp.error


def test_held_is_told_once_and_can_be_accepted(cast: Cast) -> None:
    for _ in range(3):
        directory.apply_listing(default(), listed("ada", "ben"))
    assert AuditEvent.objects.filter(verb="directory.held").count() == 1
    assert directory.apply_listing(default(), listed("ada", "ben"), accept_vanished=True).left == 5
    cast.idp.refresh_from_db()
    assert cast.idp.error == ""
    assert Subject.objects.filter(active=True).count() == 2


def test_a_directory_that_is_down_changes_nobody(cast: Cast) -> None:
    class Down:
        def people(self) -> list[DirectoryPerson]:
            raise Unavailable("The directory does not answer.")

        def close(self) -> None:
            pass

    assert not sync_directory(default(), client=Down()).ok
    assert Subject.objects.filter(active=True).count() == 7


def many(count: int, **changes: object) -> list[DirectoryPerson]:
    people = [DirectoryPerson(f"id-{n}", f"p{n}", f"P {n}", f"p{n}@example.org", True, ("ingest", f"team-{n % 7}"))
              for n in range(count)]  # fmt: skip
    return [*listed(*EVERYBODY), *(person._replace(**changes) for person in people)]


CHANGES: dict[str, dict[str, object]] = {
    "nothing": {},
    "names": {"name": "Another", "email": "a@example.org", "username": "another"},
    "groups": {"groups": ("platform", "stint-auditors")},
    "everybody is switched off": {"enabled": False},
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_asks_the_database_as_often_for_many_as_for_few(
    cast: Cast, change: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(20):
        assert directory.apply_listing(default(), many(300)).added == 300
    recorded = AuditEvent.objects.count()
    with django_assert_max_num_queries(20):
        outcome = directory.apply_listing(default(), many(300, **CHANGES[change]))
    told = change in {"groups", "everybody is switched off"}  # names give no right
    assert outcome == directory.DirectoryChanges(0, 300 if told else 0, 0, 0)
    assert AuditEvent.objects.count() == recorded + told
    one = Identity.objects.select_related("subject").get(external_id="id-7")
    assert (one.subject.name, one.username) == (("Another", "another") if change == "names" else ("P 7", "p7"))
    assert one.subject.active == (change != "everybody is switched off")
    teams = {"groups": {"platform"}, "everybody is switched off": set()}.get(change, {"ingest", "team-0"})
    assert {m.team.slug for m in one.subject.memberships.all()} == teams
    assert one.subject.portal_roles.filter(role="auditor").exists() == (change == "groups")
    assert verify().whole


def test_everybody_back_and_gone_again_is_few_queries(cast: Cast, django_assert_max_num_queries: Any) -> None:
    directory.apply_listing(default(), many(300))
    directory.apply_listing(default(), many(300, enabled=False))
    with django_assert_max_num_queries(20):
        assert directory.apply_listing(default(), many(300)).changed == 300
    with django_assert_max_num_queries(20):
        assert directory.apply_listing(default(), listed(*EVERYBODY), accept_vanished=True).left == 300
    assert Subject.objects.filter(active=True).count() == len(EVERYBODY)


class Listing:
    """A directory that tells when it is read."""

    def __init__(self, people: list[DirectoryPerson], meanwhile: Callable[[], None] = lambda: None) -> None:
        self.listed = people
        self.meanwhile = meanwhile
        self.read = 0

    def people(self) -> list[DirectoryPerson]:
        self.read += 1
        self.meanwhile()
        return self.listed

    def inspect(self, role: str) -> Finding:
        raise AssertionError(role)

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("commits")
def test_of_two_syncs_at_once_one_steps_aside(cast: Cast) -> None:
    """A listing that was read before another one must not be applied after it."""
    other = Listing(listed(*EVERYBODY))
    outcomes = []

    def at_the_same_time() -> None:
        outcomes.append(sync_directory(default(), client=other))
        connection.close()

    def meanwhile() -> None:
        thread = threading.Thread(target=at_the_same_time)
        thread.start()
        thread.join()

    done = sync_directory(default(), client=Listing(many(3), meanwhile))
    assert done.changes
    assert done.changes.added == 3
    (outcome,) = outcomes
    assert (outcome.ok, outcome.changes, other.read) == (True, None, 0)
    assert "another sync" in outcome.sentence
    assert sync_directory(default(), client=other).changes
