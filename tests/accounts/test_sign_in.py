"""The way through a sign-in and what follows from it: the callback, the session, teams and roles, signing out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client

from accounts import profile
from accounts.models import Identity, PortalRole, Subject
from accounts.signals import happened
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from tests.accounts.conftest import SignIn, begin, code_of, signed_in
from tests.accounts.op import Provider


def test_pkce_and_nonce_are_asked_for(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["nonce"]) >= 32
    assert len(asked["state"]) >= 32
    assert asked["scope"].split()[0] == "openid"


def test_a_person_is_never_found_by_mail(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """The take-over of mozilla-django-oidc: a stranger at the provider with an admin's address."""
    op.person |= {"sub": "sub-priya", "name": "Priya", "email": "priya@example.org"}
    sign_in()
    browser.logout()
    op.person |= {
        "sub": "sub-mallory",
        "name": "Mallory",
        "email": "PRIYA@example.org",
        "email_verified": False,
    }
    sign_in()
    assert Subject.objects.count() == 2
    assert browser.session["_auth_user_id"] == str(Identity.objects.get(external_id="sub-mallory").subject_id)


@pytest.mark.parametrize("again", ["the same code and state", "another browser", "no state", "an invented state"])
def test_a_callback_counts_once_and_where_it_was_begun(op: Provider, browser: Client, again: str) -> None:
    asked = begin(browser, op)
    query = {"code": "c", "state": asked["state"]}
    if again == "the same code and state":
        browser.get("/oidc/callback", query)
        browser.logout()
    elif again == "another browser":
        browser = Client(headers={"host": "127.0.0.1:8000"})
    elif again == "no state":
        del query["state"]
    else:
        query["state"] = "x" * 32
    assert code_of(browser.get("/oidc/callback", query)) == "STATE_UNKNOWN"
    assert not signed_in(browser)


def test_no_code(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    assert code_of(browser.get("/oidc/callback", {"state": asked["state"]})) == "CODE_MISSING"


def test_an_answer_of_another_provider(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """Mix-up (RFC 9207): the `iss` of the callback."""
    assert code_of(sign_in(iss="https://evil.example")) == "ISS_MISMATCH"
    assert code_of(sign_in(iss="https://evil.example", error="access_denied")) == "ISS_MISMATCH"
    assert "/token" not in op.calls


def test_a_provider_that_names_itself_always_does(op: Provider, browser: Client, sign_in: SignIn) -> None:
    """As Keycloak does: an answer that leaves `iss` out is somebody else's."""
    op.discovery["authorization_response_iss_parameter_supported"] = True
    assert code_of(sign_in()) == "ISS_MISMATCH"
    assert "/token" not in op.calls
    sign_in(iss=op.issuer)
    assert signed_in(browser)


def test_the_provider_says_no(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    refused = browser.get("/oidc/callback", {"error": "access_denied", "state": asked["state"]})
    assert code_of(refused) == "PROVIDER_REFUSED"


def test_a_forged_error_signs_nobody_out(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    browser.get("/oidc/callback", {"error": "login_required", "state": "x"})
    assert signed_in(browser)


def test_who_was_switched_off_stays_out(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    subject = Subject.objects.get()
    assert browser.get("/settings").status_code == 200
    with transaction.atomic():
        Subject.objects.update(active=False)
        record(Verb.SUBJECT_CHANGED, by="test", on=[subject])
    assert browser.get("/settings").status_code == 302  # the session that was open
    assert code_of(sign_in()) == "INACTIVE"


def test_the_session_is_a_new_one(op: Provider, browser: Client, sign_in: SignIn) -> None:
    begin(browser, op)
    before = browser.session.session_key
    sign_in()
    assert browser.session.session_key != before


def test_a_sign_in_that_is_only_begun_is_forgotten_after_ten_minutes(
    op: Provider, browser: Client, sign_in: SignIn
) -> None:
    """Anybody may begin one, and each is a row. Who came through has a session as long as any other's."""
    begin(browser, op)
    begun = Session.objects.get()
    assert begun.expire_date <= datetime.now(UTC) + timedelta(minutes=10)
    assert browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == 600
    sign_in()
    session = Session.objects.get(session_key=browser.session.session_key)
    assert session.expire_date > datetime.now(UTC) + timedelta(hours=11)
    assert browser.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == settings.SESSION_COOKIE_AGE
    begin(browser, op)  # again, as who is signed in
    session.refresh_from_db()
    assert session.expire_date > datetime.now(UTC) + timedelta(hours=11)


def test_who_comes_back_after_ten_minutes_begins_again(op: Provider, browser: Client) -> None:
    asked = begin(browser, op)
    Session.objects.update(expire_date=datetime.now(UTC) - timedelta(seconds=1))
    assert code_of(browser.get("/oidc/callback", {"code": "c", "state": asked["state"]})) == "STATE_UNKNOWN"
    assert not signed_in(browser)


@pytest.mark.parametrize(
    ("wanted", "lands"),
    [
        ("/catalog?q=x", "/catalog?q=x"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:x", "/"),
    ],
)
def test_next(op: Provider, browser: Client, wanted: str, lands: str) -> None:
    asked = begin(browser, op, f"/oidc/start?next={wanted.replace('?', '%3F').replace('=', '%3D')}")
    assert browser.get("/oidc/callback", {"code": "c", "state": asked["state"]}).headers["Location"] == lands


def test_groups_are_teams_and_roles(op: Provider, browser: Client, sign_in: SignIn) -> None:
    op.person["groups"] = ["ingest", "stint-admins", "", "x" * 500, 7, "bad\nname"]
    sign_in()
    subject = Subject.objects.get()
    assert [m.team.slug for m in subject.memberships.all()] == ["ingest"]
    assert list(subject.portal_roles.values_list("role", "source")) == [("admin", "claim")]
    for groups, roles, teams in (
        (None, 1, 1),  # says nothing: no change
        ([], 0, 0),
    ):
        browser.logout()
        op.person["groups"] = groups
        op.person = {name: value for name, value in op.person.items() if value is not None}
        sign_in()
        assert (subject.portal_roles.count(), subject.memberships.count()) == (roles, teams)


def test_what_was_known_of_the_session_before_is_not_believed_after_it(
    op: Provider, browser: Client, sign_in: SignIn
) -> None:
    """The callback is a GET that acts. Fault: what its session's person was known as is kept for the whole of it."""
    op.person["groups"] = ["ingest", "stint-admins"]
    sign_in()
    op.person["groups"] = []
    seen: list[profile.Profile | None] = []

    def look(by: Subject, **_: object) -> None:
        seen.append(profile.of(by))

    happened.connect(look)
    try:
        sign_in()  # as who is signed in already: their session is looked up first
    finally:
        happened.disconnect(look)
    assert [(one.roles, one.teams) for one in seen if one] == [(frozenset(), ())]


@pytest.mark.parametrize("declared", [{"oidc_absent_groups_mean_none": True}, {"idp_kind": "keycloak"}])
def test_absent_groups_can_mean_none(
    op: Provider, browser: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, declared: dict[str, object]
) -> None:
    """Keycloak never sends an empty list. What is no list at all still changes nothing."""
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update=declared))
    slash = "/" * (declared == {"idp_kind": "keycloak"})
    op.person["groups"] = [f"{slash}ingest", f"{slash}stint-admins"]
    sign_in()
    subject = Subject.objects.get()
    for groups, roles, teams in ({"stint-admins": True}, 1, 1), (7, 1, 1), (None, 0, 0):
        browser.logout()
        op.person = {name: value for name, value in {**op.person, "groups": groups}.items() if value is not None}
        sign_in()
        assert (subject.portal_roles.count(), subject.memberships.count()) == (roles, teams)


def test_the_first_admin_is_named_by_id(op: Provider, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"first_admin": "sub-ada"}))
    sign_in()
    assert PortalRole.objects.get().source == "settings"


def test_sign_out_here_and_there(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    assert browser.get("/signout").status_code == 405
    there = browser.post("/signout").headers["Location"]
    assert there.startswith(f"{op.issuer}/logout?")
    assert "id_token_hint=" in there
    assert "post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fsignin" in there
    assert not signed_in(browser)
    assert AuditEvent.objects.latest("seq").verb == "subject.signed_out"


def test_the_session_is_refreshed_by_way_of_the_provider(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    _make_due(browser)
    assert browser.get("/settings", headers={"HX-Request": "true"}).status_code == 200  # parts wait for a page
    response = browser.get("/settings")
    assert response.headers["Location"].startswith(f"{op.issuer}/authorize?")
    assert "prompt=none" in response.headers["Location"]


def _make_due(browser: Client) -> None:
    session = browser.session
    session["oidc_id_token_expiration"] = 0
    session.save()


def test_a_session_that_is_over_there_is_over_here(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    asked = begin(browser, op)
    response = browser.get("/oidc/callback", {"error": "login_required", "state": asked["state"]})
    assert code_of(response) == "SESSION_OVER"
    assert not signed_in(browser)
    # As signing out does: whatever hangs on the session ends with it, and the record says so.
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor) == ("subject.signed_out", Identity.objects.get().subject.ref)


def test_pages_work_on_while_the_provider_is_down(op: Provider, browser: Client, sign_in: SignIn) -> None:
    sign_in()
    _make_due(browser)
    op.answers["/.well-known/openid-configuration"] = (500, b"")
    assert browser.get("/settings").status_code == 200


def test_an_unknown_code_is_not_shown(browser: Client, db: None) -> None:
    page = browser.get("/signin/failed", {"code": "<script>"}).content.decode()
    assert "&lt;script" not in page
    assert "UNKNOWN" in page
