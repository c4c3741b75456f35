"""Providers differ by their settings and by nothing else, so that there can be several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings

from accounts import people
from accounts.idp import default, row_of
from accounts.models import IdP, Subject
from grants.adapters.errors import Refused
from grants.adapters.idp.demo import DemoAdapter
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.adapters.idp.kinds import KINDS, ProviderSettings, realm_of
from grants.identity import providers
from grants.identity.directory import sync_directory
from tests.cast import Cast

GROUPS = ["/stint-admins", "stint-admins", "owners", "/ops/ingest"]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[ProviderSettings, ProviderSettings]:
    """The provider of the settings, and a Keycloak beside it."""
    (tmp_path / "secret").write_text("s3cret")
    first = default()._replace(kind="demo", admin_url="http://127.0.0.1:9", admin_secret_ref=f"file:{tmp_path}/secret")
    second = first._replace(
        slug="second", kind="keycloak", issuer="https://second.example.org/realms/a", admin_url="",
        admin_group="owners", team_prefix="ops/", first_admin="root", absent_groups_mean_none=True,
    )  # fmt: skip
    env = SimpleNamespace(
        **settings.ENV.model_dump(), provider=first, providers={one.slug: one for one in (first, second)}
    )
    monkeypatch.setattr(settings, "ENV", env)
    return first, second


def test_each_reads_groups_by_its_own_settings(two: tuple[ProviderSettings, ProviderSettings]) -> None:
    first, second = (people.entitlements([*GROUPS, "/owners"], one) for one in two)
    assert first.roles == {"admin"}  # "stint-admins", letter by letter
    assert second.roles == {"admin"}  # "/owners": a path
    assert second.teams == {"ingest"}
    assert people.entitlements(["owners"], two[1]).roles == set()
    assert people.entitlements(["owners"], two[0]).roles == set()
    assert people.entitlements_in({}, two[0]) is None
    assert people.entitlements_in({}, two[1]) == people.Entitlements(frozenset(), frozenset())


def test_the_first_admin_is_one_providers(two: tuple[ProviderSettings, ProviderSettings]) -> None:
    """Whoever has that id elsewhere is somebody else."""
    assert [people.is_first_admin("root", one) for one in two] == [False, True]
    assert [people.is_first_admin("", one) for one in two] == [False, False]


def test_each_has_a_row_and_an_adapter_of_its_own(cast: Cast, two: tuple[ProviderSettings, ProviderSettings]) -> None:
    rows = [row_of(one) for one in two]
    assert [row.slug for row in rows] == [cast.idp.slug, "second"]
    demo, keycloak = (providers.connect(row.pk) for row in rows)
    assert isinstance(demo, DemoAdapter)
    assert isinstance(keycloak, KeycloakAdapter)
    assert providers.connect(rows[1].pk) is keycloak


def test_a_provider_that_the_settings_forgot_is_refused(cast: Cast) -> None:
    row = IdP.objects.create(slug="gone", kind="keycloak", issuer="https://gone.example.org/realms/a", client_id="x")
    with pytest.raises(Refused, match="no longer name the provider gone"):
        providers.connect(row.pk)
    assert cast.idp.pk != row.pk


def test_people_of_a_second_provider_are_its_own(cast: Cast, two: tuple[ProviderSettings, ProviderSettings]) -> None:
    """One id at two providers is two people; who is missing in one listing is not gone from the other."""
    before = Subject.objects.filter(active=True).count()
    outcome = sync_directory(two[1], client=Everybody("id-ada"))  # type: ignore[arg-type]
    assert outcome.changes
    assert (outcome.changes.added, outcome.changes.left) == (1, 0)
    assert Subject.objects.filter(active=True).count() == before + 1
    assert cast.ada.identities.get().idp.slug == two[0].slug


class Everybody:
    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def inspect(self, role: str) -> None:
        raise NotImplementedError(role)

    def people(self) -> list[SimpleNamespace]:
        facts = {"email": "", "enabled": True, "groups": ()}
        return [SimpleNamespace(external_id=one, username=one, name=one, **facts) for one in self.ids]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_can_do_more_than_sign_in_has_an_adapter(kind: str) -> None:
    can = KINDS[kind].can
    assert (kind in providers._MADE_BY) == (can.directory or can.roles)


def test_a_realm_is_named_by_its_issuer() -> None:
    assert realm_of("https://sso.example.org/auth/realms/a") == ("https://sso.example.org/auth", "a")
    for other in ("https://sso.example.org", "https://sso.example.org/realms/", "https://a/realms/b/c", "/realms/a"):
        assert realm_of(other) is None
