"""People and teams follow the directory; a broken listing switches nobody off."""

from __future__ import annotations

from accounts import directory
from accounts.models import Identity, Membership, Subject
from grants.adapters.errors import Unavailable
from grants.adapters.idp.base import DirectoryPerson
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.catalog.directory import sync_directory
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
    assert directory.apply(cast.idp, listed(*EVERYBODY)) == directory.Outcome(0, 0, 0, 0)
    assert AuditEvent.objects.count() == before


def test_who_never_signed_in_is_known(cast: Cast) -> None:
    outcome = directory.apply(cast.idp, [*listed(*EVERYBODY), *listed("grace", grace={"groups": ("sre",)})])
    assert outcome.added == 1
    grace = Identity.objects.get(external_id="id-grace").subject
    assert grace.memberships.get().team.slug == "sre"
    assert AuditEvent.objects.latest("seq").verb == "directory.synced"


def test_a_move_to_another_team(cast: Cast) -> None:
    directory.apply(cast.idp, listed(*EVERYBODY, chiara={"groups": ("ingest",), "name": "Chiara Lang"}))
    assert [m.team.slug for m in cast.chiara.memberships.all()] == ["ingest"]
    cast.chiara.refresh_from_db()
    assert cast.chiara.name == "Chiara Lang"


def test_what_was_given_in_the_portal_stays(cast: Cast) -> None:
    Membership.objects.filter(subject=cast.chiara).update(source="portal")
    record(Verb.SUBJECT_CHANGED, by="test", on=[cast.chiara])
    directory.apply(cast.idp, listed(*EVERYBODY, chiara={"groups": ()}))
    assert cast.chiara.memberships.count() == 1


def test_who_left_is_switched_off_and_may_come_back(cast: Cast) -> None:
    without = [name for name in EVERYBODY if name != "oscar"]
    assert directory.apply(cast.idp, listed(*without)).left == 1
    assert not Subject.objects.get(pk=cast.oscar.pk).active
    assert directory.apply(cast.idp, listed(*EVERYBODY)).changed == 1
    assert Subject.objects.get(pk=cast.oscar.pk).active


def test_disabled_there_is_off_here(cast: Cast) -> None:
    directory.apply(cast.idp, listed(*EVERYBODY, chiara={"enabled": False}))
    chiara = Subject.objects.get(pk=cast.chiara.pk)
    assert not chiara.active
    assert not chiara.memberships.exists()


def test_too_many_gone_at_once_are_held(cast: Cast) -> None:
    outcome = directory.apply(cast.idp, listed("ada", "ben"))
    assert (outcome.left, outcome.held) == (0, 5)
    assert Subject.objects.filter(active=True).count() == 7
    cast.idp.refresh_from_db()
    assert "vanished" in cast.idp.error


def test_held_is_told_once_and_can_be_accepted(cast: Cast) -> None:
    for _ in range(3):
        directory.apply(cast.idp, listed("ada", "ben"))
    assert AuditEvent.objects.filter(verb="directory.held").count() == 1
    assert directory.apply(cast.idp, listed("ada", "ben"), accept_vanished=True).left == 5
    cast.idp.refresh_from_db()
    assert cast.idp.error == ""
    assert Subject.objects.filter(active=True).count() == 2


def test_a_directory_that_is_down_changes_nobody(cast: Cast) -> None:
    class Down:
        def people(self) -> list[DirectoryPerson]:
            raise Unavailable("The directory does not answer.")

        def close(self) -> None:
            pass

    assert not sync_directory(client=Down()).ok
    assert Subject.objects.filter(active=True).count() == 7
