"""The frame around every page: closed by default, shows what opens, speaks in the person's time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from grants.web import errors
from tests.cast import Cast
from tests.web.conftest import SignIn

# Whatever is not here needs a login. Each has its reason.
OPEN = {
    "metrics",  # a bearer token opens it, or an admin
    "signin",  # where a login begins
    "signin/failed",  # why it did not work
    "oidc/start",
    "oidc/callback",  # where the provider sends people back
}
HOST = {"host": "127.0.0.1:8000"}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, path)
        else:
            yield path, entry


def test_every_url_needs_a_login_unless_it_is_listed(cast: Cast) -> None:
    client = Client(headers=HOST)
    opened = set()
    for path, entry in routes(get_resolver()):
        address = "/" + path.replace("<int:pk>", "1")
        answers = [client.get(address), client.post(address)]
        closed = all(a.status_code == 302 and a["Location"].startswith("/signin?next=") for a in answers)
        assert closed != (not getattr(entry.callback, "login_required", True)), address
        if not closed:
            opened.add(path)
    assert opened <= OPEN, f"open without a login: {opened - OPEN}"


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.ada).get("/")
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert 'src="http' not in answer.text


@pytest.mark.parametrize(
    ("name", "shown", "hidden"),
    [
        (
            "ada",
            ["/catalog", "/inbox", "/access", "/services", "/history", "/connections", "/policy"],
            ["/audit", "/status"],
        ),
        ("priya", ["/audit", "/status"], []),
        ("olga", ["/audit", "/status"], []),
    ],
)
def test_the_navigation_shows_what_opens(
    cast: Cast, sign_in: SignIn, name: str, shown: list[str], hidden: list[str]
) -> None:
    client = sign_in(getattr(cast, name))
    page = client.get("/").text
    for path in shown:
        assert f'class="nav-link" href="{path}"' in page
        assert client.get(path).status_code == 200
    for path in hidden:
        assert f'href="{path}"' not in page
        assert client.get(path).status_code == 403


def test_counts_say_what_waits_and_what_is_held(cast: Cast, sign_in: SignIn) -> None:
    cast.asks()
    page = sign_in(cast.chiara).get("/").text
    assert '<span class="count count-call">1</span>' in page
    assert '<span class="count count-call">' not in sign_in(cast.ada).get("/").text


@pytest.mark.parametrize(
    ("zone", "said"),
    [("Europe/Berlin", "Berlin"), ("America/New_York", "New York"), ("../../etc/passwd", "UTC"), ("", "UTC")],
)
def test_times_are_the_browsers_until_somebody_chooses(cast: Cast, sign_in: SignIn, zone: str, said: str) -> None:
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = zone
    assert f"<span>{said}</span>" in client.get("/").text


def test_a_chosen_zone_wins_over_the_browsers(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    client.cookies["stint-zone"] = "Europe/Berlin"
    answer = client.post("/settings", {"time_zone": "america/new york", "theme": "dark"})
    assert (answer.status_code, answer["Location"]) == (302, "/settings")
    page = client.get("/").text
    assert "<span>New York</span>" in page
    assert '<html lang="en" data-theme="dark">' in page


@pytest.mark.parametrize(
    "bad",
    [{"time_zone": "Mars/Olympus"}, {"theme": "neon"}, {"time_zone": "x" * 65}, {"time_zone": "a\x00b"}],
)
def test_a_bad_setting_is_told_beside_its_field_and_changes_nothing(
    cast: Cast, sign_in: SignIn, bad: dict[str, str]
) -> None:
    answer = sign_in(cast.ada).post("/settings", bad)
    assert answer.status_code == 422
    assert f'id="{next(iter(bad))}-error"' in answer.text
    cast.ada.refresh_from_db()
    assert cast.ada.time_zone == ""


def test_a_forged_theme_cookie_reaches_no_page(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    client.cookies["stint-theme"] = "dark onload=x"
    assert "onload" not in client.get("/").text


def test_what_is_not_there_is_said_plainly(cast: Cast, sign_in: SignIn) -> None:
    answer = sign_in(cast.ada).get("/nothing/here", headers={"x-request-id": "abcdef12"})
    assert answer.status_code == 404
    assert "There is nothing here for you" in answer.text
    assert "abcdef12" in answer.text


def test_a_form_from_elsewhere_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, headers=HOST)
    client.force_login(cast.ada)
    answer = client.post("/settings", {"theme": "dark"})
    assert answer.status_code == 403
    assert "not sent by this page" in answer.text


def test_the_page_for_a_missing_database_needs_none() -> None:
    # No `db` fixture: a query would be an error here.
    assert "Stint cannot reach its database" in render_to_string("down.html")


def broken_line() -> None:
    raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize(
    ("method", "told", "untrue"),
    [
        ("POST", "It is not known whether this was done", "Nothing was changed"),
        ("GET", "Nothing was changed", "not known"),
    ],
)
def test_a_line_that_breaks_in_a_change_leaves_it_unknown(method: str, told: str, untrue: str) -> None:
    """Its COMMIT may have arrived. Fault: one sentence for both."""
    request = RequestFactory().generic(method, "/requests")
    try:
        broken_line()
    except OperationalError:
        answer = errors.server_error(request)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert told in answer.text
    assert untrue not in answer.text


@pytest.mark.parametrize(("method", "unknown"), [("POST", True), ("GET", False)])
def test_a_failure_in_a_change_is_not_said_to_have_changed_nothing(method: str, *, unknown: bool) -> None:
    """It may have come after the COMMIT. Fault: the page of a GET for both."""
    answer = errors.server_error(RequestFactory().generic(method, "/requests"))
    assert answer.status_code == 500
    assert ("look before you send it again" in answer.text) is unknown
    assert "othing was changed" not in answer.text


def test_a_database_known_to_be_away_was_asked_nothing() -> None:
    answer = errors.database_error(RequestFactory().post("/requests"), OperationalError())
    assert "Nothing was changed" in answer.text


def test_names_are_escaped_everywhere(cast: Cast, sign_in: SignIn) -> None:
    evil = "<img src=x onerror=alert(1)>"
    type(cast.ada).objects.filter(pk=cast.ada.pk).update(time_zone="")
    client = sign_in(cast.ada)
    for address in (
        f"/catalog?q={evil}",
        f"/requests/new?find={evil}&reason={evil}",
        f"/catalog?tag={evil}&kind={evil}",
    ):
        assert "<img src=x" not in client.get(address).text


def test_a_message_is_shown_once(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.ada)
    answer = client.post("/settings", {"theme": ""})
    assert [str(message) for message in get_messages(answer.wsgi_request)] == ["Saved."]
    assert "Saved." in client.get("/settings").text
    assert "Saved." not in client.get("/settings").text


@pytest.mark.parametrize("address", ["/", "/history", "/catalog", "/nothing-here", "/oidc/start"])
def test_no_browser_keeps_a_page(cast: Cast, sign_in: SignIn, address: str) -> None:
    """Fault: Back after sign-out shows what the last person saw."""
    assert "no-store" in sign_in(cast.ada).get(address)["Cache-Control"]
