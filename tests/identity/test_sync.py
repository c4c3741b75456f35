from __future__ import annotations

import pytest

from accounts.idp import default
from accounts.models import Identity, IdP
from grants.adapters.errors import Unavailable
from grants.adapters.idp.base import DirectoryPerson, Finding
from grants.identity.directory import sync_directory

pytestmark = pytest.mark.django_db

ADA = DirectoryPerson("u-1", "ada", "Ada Okafor", "ada@example.test", True, ("ingest",))
BEN = DirectoryPerson("u-2", "ben", "Ben Ruiz", "ben@example.test", True, ())


class Stub:
    def __init__(self, people: list[DirectoryPerson] | Exception) -> None:
        self.has = people

    def people(self) -> list[DirectoryPerson]:
        if isinstance(self.has, Exception):
            raise self.has
        return self.has

    def inspect(self, role: str) -> Finding:
        return Finding("hull" not in role, f"Role {role} contains manage-users.")

    def close(self) -> None:
        raise AssertionError("whoever opens it closes it")


def test_who_never_signed_in_is_known() -> None:
    outcome = sync_directory(default(), client=Stub([ADA, BEN]))
    assert outcome.ok
    assert ": 2 new." in outcome.sentence
    assert {one.subject.name for one in Identity.objects.select_related("subject")} == {
        "Ada Okafor",
        "Ben Ruiz",
    }
    assert IdP.objects.get().seen_at is not None
    assert "nothing new" in sync_directory(default(), client=Stub([ADA, BEN])).sentence


def test_a_failure_is_kept_on_the_idp_and_switches_nobody_off() -> None:
    sync_directory(default(), client=Stub([ADA]))
    outcome = sync_directory(default(), client=Stub(Unavailable("The demo identity provider cannot be reached.")))
    assert not outcome.ok
    assert "cannot be reached" in outcome.sentence
    unread = IdP.objects.get()
    assert unread.error == "People and teams could not be read: The demo identity provider cannot be reached."
    assert unread.unread
    assert Identity.objects.get().subject.active
    sync_directory(default(), client=Stub([ADA]))
    assert IdP.objects.get().error == ""


def test_many_gone_at_once_are_held_and_said() -> None:
    people = [DirectoryPerson(f"u-{n}", f"p{n}", f"P {n}", f"p{n}@example.test", True, ()) for n in range(10)]
    sync_directory(default(), client=Stub(people))
    outcome = sync_directory(default(), client=Stub(people[:2]))
    assert not outcome.ok
    assert "8 vanished at once and are held" in outcome.sentence
    assert Identity.objects.filter(subject__active=True).count() == 10


def test_a_provider_without_a_directory_is_left_alone(settings: pytest.FixtureRequest) -> None:
    settings.ENV = settings.ENV.model_copy(update={"idp_kind": "oidc", "idp_admin_secret_ref": ""})  # type: ignore[attr-defined]
    outcome = sync_directory(default())
    assert outcome.ok
    assert "has no directory" in outcome.sentence


def test_a_missing_secret_is_an_outcome(settings: pytest.FixtureRequest) -> None:
    settings.ENV = settings.ENV.model_copy(  # type: ignore[attr-defined]
        update={
            "idp_kind": "demo",
            "idp_admin_url": "http://127.0.0.1:9",
            "idp_admin_secret_ref": "env:STINT_NO_SUCH",
        }
    )
    outcome = sync_directory(default())
    assert outcome.why == "The secret in the environment variable STINT_NO_SUCH is not set."


def test_mapped_roles_are_looked_at_with_the_directory() -> None:
    outcome = sync_directory(default(), client=Stub([ADA, BEN]), mapped=["realm/fine", "realm/hull"])
    assert not outcome.ok
    assert "realm/hull contains manage-users" in outcome.sentence
    seen = IdP.objects.get()
    assert "realm/hull contains manage-users" in seen.error
    assert "realm/fine" not in seen.error
    assert not seen.unread
    assert seen.seen_at  # the people were read all the same
    assert Identity.objects.count() == 2
    assert sync_directory(default(), client=Stub([ADA, BEN]), mapped=["realm/fine"]).ok
    assert IdP.objects.get().error == ""
