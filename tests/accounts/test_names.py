"""Whoever can make a group or a user gains nothing by a name that looks like another's, at sign-in or in the directory.

Faults that turn these red: strip() or NFKC in names.odd or read_groups, clean() or another removeprefix("/") in an
adapter, an unsorted cut at GROUPS_MAX, one_line() for a user name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import directory, names, people, sso
from accounts.idp import default
from accounts.models import Identity, Membership, PortalRole, Subject
from grants.adapters.idp.base import DirectoryPerson, Finding
from grants.adapters.idp.demo import DemoAdapter
from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.identity.directory import sync_directory
from grants.policy import versions
from grants.policy.yaml_marks import PolicyErrors
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import POLICY, Cast

ADMINS = "stint-admins"
LOOK_ALIKES = [
    f"{ADMINS} ", f" {ADMINS}", f"{ADMINS}\u00a0", f"\u2003{ADMINS}", f"{ADMINS}\n", f"{ADMINS}\t", f"{ADMINS}\x00",
    f"{ADMINS}\u200b", f"{ADMINS}\ufeff", f"\u202e{ADMINS}", "stint\u00adadmins", "Stint-Admins", "stint\u2010admins",
    "\uff53tint-admins", "\u0455tint-admins", f"{ADMINS}\ud800", f"/{ADMINS}", f"//{ADMINS}", f"{ADMINS}/",
    f"ops/{ADMINS}", f"{ADMINS}/ops", f"{ADMINS}{' ' * 300}x",
]  # fmt: skip
KINDS = ["oidc", "demo", "keycloak"]

# The letters that once made two names one, and any others.
_NEAR = st.text(st.sampled_from("ax-/~ \u00a0\u2003\u200b\u202e\x00\n\ufeff\ud800A"), max_size=6)
GROUP = st.one_of(
    st.sampled_from([ADMINS, "ingest", *LOOK_ALIKES]), _NEAR, st.text(max_size=20),
    st.text(min_size=195, max_size=205, alphabet="xy"),
)  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return of_kind(monkeypatch, request.param)


def of_kind(monkeypatch: pytest.MonkeyPatch, kind: str, **more: str) -> str:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"idp_kind": kind, **more}))
    return kind


def written(kind: str, groups: Iterable[str]) -> list[str]:
    """As this kind of provider writes groups of these names at its top into a claim."""
    return [f"/{group}" if kind == "keycloak" else group for group in groups]


def listed(kind: str, person: str, groups: Iterable[str]) -> list[DirectoryPerson]:
    """As this kind's adapter lists somebody who is in these groups."""
    if kind == "keycloak":
        server = FakeKeycloak()
        pk = server.user("ada")
        server.users = {person: {**server.users[pk], "id": person}}
        for n, path in enumerate(written(kind, groups)):
            server.groups.append(({"id": f"g{n}", "name": path[1:], "path": path, "subGroupCount": 0}, [person]))
        adapter: KeycloakAdapter | DemoAdapter = KeycloakAdapter(
            "http://fake", "test", client_id="p", secret="s", transport=server.transport()
        )
    else:
        row = {"id": person, "username": "ada", "name": "Ada", "email": "a@example.org", "enabled": True}
        page = {"users": [{**row, "groups": list(groups)}], "next": None}
        answer = httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps(page)))
        adapter = DemoAdapter("http://fake", secret="s", transport=answer)
    return adapter.people()


def sign_in(person: str, groups: list[str]) -> Subject:
    """What a sign-in does with checked claims."""
    request = RequestFactory().get("/oidc/callback")
    request.user = AnonymousUser()
    return sso._person(request, {"sub": person, "preferred_username": "ada", "name": "Ada", "groups": groups})


def rights(subject: Subject) -> tuple[set[str], set[str]]:
    return (
        set(PortalRole.objects.filter(subject=subject).values_list("role", flat=True)),
        set(Membership.objects.filter(subject=subject).values_list("team__slug", flat=True)),
    )


@pytest.mark.parametrize("name", LOOK_ALIKES, ids=ascii)
def test_a_look_alike_is_no_admin_by_either_door(cast: Cast, kind: str, name: str) -> None:
    assert not rights(sign_in("id-mallory", written(kind, [name])))[0]
    directory.apply_listing(default(), listed(kind, "id-mallory", [name]))
    mallory = Identity.objects.get(external_id="id-mallory").subject
    roles, slugs = rights(mallory)
    assert not roles
    assert slugs <= {name}  # exactly this one, or none


def test_the_real_one_is_by_both(cast: Cast, kind: str) -> None:
    ada = sign_in("id-x", written(kind, [ADMINS, "ingest"]))
    assert rights(ada) == ({"admin"}, {"ingest"})
    directory.apply_listing(default(), listed(kind, "id-x", [ADMINS, "ingest"]))
    assert rights(ada) == ({"admin"}, {"ingest"})


@pytest.mark.parametrize("kind", KINDS)
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(GROUP, max_size=6), prefix=st.sampled_from(["", "", "a", "team/"]))
def test_sign_in_and_directory_give_one_answer(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, kind: str, groups: list[str], prefix: str
) -> None:
    """Whatever groups are called: what one door gave, the other neither adds to nor takes from."""
    of_kind(monkeypatch, kind, oidc_team_prefix=prefix)
    pk = f"id-{Subject.objects.count()}"
    subject = sign_in(pk, written(kind, groups))
    by_sign_in = rights(subject)
    outcome = directory.apply_listing(default(), listed(kind, pk, groups))
    assert rights(subject) == by_sign_in
    assert by_sign_in[0] == ({"admin"} if ADMINS in groups else set())
    assert {prefix + slug for slug in by_sign_in[1]} <= set(groups) - {ADMINS}
    if not any(map(names.odd, groups)):
        assert outcome.left_out == "" or prefix
    elif len(groups) == 1:
        assert "group" in outcome.left_out


@given(st.lists(GROUP, max_size=20), st.booleans())
def test_names_are_kept_as_they_came_or_left_out(groups: list[str], paths: bool) -> None:
    read = names.read_groups(groups, paths=paths)
    slash = "/" if paths else ""
    assert {slash + name for name in read.names} <= set(groups)
    assert len(read.left_out) == sum(group.removeprefix(slash) not in read.names or not group.startswith(slash)
                                     for group in groups)  # fmt: skip
    assert names.said({"group": read.left_out}).isprintable()


def test_which_of_too_many_are_kept_is_no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever makes many groups pushes nobody out of the portal's own, or out of a team."""
    of_kind(monkeypatch, "demo", oidc_team_prefix="team-")
    groups = [*(f"a{n:04}" for n in range(2000)), "team-ingest", ADMINS, "stint-auditors"]
    kept = set()
    for seed in range(5):
        random.Random(seed).shuffle(groups)
        read = people.entitlements(groups, default())
        kept.add((read.teams, read.roles, frozenset(read.left_out)))
        assert len(read.left_out) == 2003 - names.GROUPS_MAX
        assert "one of more than 500 1503" in names.said({"group": read.left_out})
    ((teams, roles, left_out),) = kept
    assert teams == {"ingest"}
    assert roles == {"admin", "auditor"}
    assert len(left_out) == 2003 - names.GROUPS_MAX


def test_what_is_no_full_path_is_not_keycloaks(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mapper's full path off, a group of any parent would pass for the portal's own."""
    of_kind(monkeypatch, "keycloak")
    assert rights(sign_in("id-x", [ADMINS])) == (set(), set())


@pytest.fixture
def odd_people(cast: Cast) -> list[DirectoryPerson]:
    everybody = [
        DirectoryPerson(f"id-{name}", name, name.title(), f"{name}@example.org", True, ())
        for name in ("ada", "ben", "chiara", "tomasz", "priya", "olga", "oscar")
    ]
    odd = DirectoryPerson("id-mallory", "ada ", "Ada", "ada @example.org", True, (f"{ADMINS}\u00a0", "ingest"))
    return [*everybody, odd, odd._replace(external_id="id-ada\x00"), odd._replace(external_id=" id-ada")]


def test_what_is_left_out_is_said(cast: Cast, odd_people: list[DirectoryPerson]) -> None:
    class Listing:
        def people(self) -> list[DirectoryPerson]:
            return odd_people

        def inspect(self, role: str) -> Finding:
            raise NotImplementedError

    outcome = sync_directory(default(), client=Listing())  # type: ignore[arg-type]
    assert outcome.changes
    assert outcome.changes.added == 1
    said = (
        "2 odd persons left out (blank at an end 1, unprintable 1): ' id-ada', 'id-ada\\x00'. "
        "1 odd user name left out (blank at an end 1): 'ada '. "
        "1 odd group left out (unprintable 1): 'stint-admins\\xa0'."
    )
    assert outcome.changes.left_out == said
    assert said in outcome.sentence
    cast.idp.refresh_from_db()
    assert cast.idp.error == said
    assert not cast.idp.unread


def test_a_user_name_that_looks_like_anothers_is_nobodys(cast: Cast, odd_people: list[DirectoryPerson]) -> None:
    """A policy names people by it: a look-alike is neither taken for the person nor makes the name ambiguous."""
    directory.apply_listing(default(), odd_people)
    mallory = Identity.objects.get(external_id="id-mallory")
    assert (mallory.username, mallory.subject.email) == ("", "")
    text = POLICY.replace("- {team: sre}", f"- {{person: {{idp: {cast.idp.slug}, username: ada}}}}")
    assert versions.apply(text, by=None).people == {f"{cast.idp.slug}:ada": "id-ada"}
    directory.apply_listing(default(), [p for p in odd_people if p.username != "ada"], accept_vanished=True)
    with pytest.raises(PolicyErrors, match="ada is not known"):
        versions.apply(text + "# again\n", by=None)


def test_a_name_given_up_is_not_kept(cast: Cast) -> None:
    """Who had a name before, and shows an odd one now, is not called by the old one any more."""
    request = RequestFactory().get("/oidc/callback")
    request.user = AnonymousUser()
    for username, known_as in (None, "ada"), ("ada\u200b", ""), (7, ""), ("ada2", "ada2"):
        sso._person(request, {"sub": "id-ada", "preferred_username": username, "name": "Ada"})
        assert Identity.objects.get(external_id="id-ada").username == known_as
