"""My access, one grant, giving it back and revoking it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from tests.cast import Cast
from tests.tokens.scene import working
from tests.web.requests.test_requests import signed_in


@pytest.fixture
def grant(cast: Cast) -> Grant:
    decide.approve(cast.asks(), by=cast.chiara, note="Go ahead.")
    return Grant.objects.get()


def url(name: str, grant: Grant) -> str:
    return reverse(name, args=[grant.pk])


class TestGrantPage:
    def test_holder_reads_what_until_when_and_who_approved(self, cast: Cast, grant: Grant) -> None:
        page = signed_in(cast.ada).get(url("grant", grant)).content.decode()
        assert "You may run etl/prod" in page
        assert "data-until" in page
        assert "Chiara" in page
        assert "Go ahead." in page
        assert "The nightly run died" in page
        assert url("grant-give-back", grant) in page
        assert url("grant-revoke", grant) not in page

    @pytest.mark.parametrize("who", ["chiara", "tomasz", "priya"])
    def test_owner_and_admin_may_revoke(self, cast: Cast, grant: Grant, who: str) -> None:
        page = signed_in(getattr(cast, who)).get(url("grant", grant)).content.decode()
        assert "Ada may run etl/prod" in page
        assert url("grant-revoke", grant) in page
        assert url("grant-give-back", grant) not in page

    def test_auditor_reads(self, cast: Cast, grant: Grant) -> None:
        page = signed_in(cast.olga).get(url("grant", grant)).content.decode()
        assert url("grant-revoke", grant) not in page

    @pytest.mark.parametrize("who", ["oscar", "ben"])
    @pytest.mark.parametrize("name", ["grant", "grant-revoke"])
    def test_strangers_get_404(self, cast: Cast, grant: Grant, who: str, name: str) -> None:
        assert signed_in(getattr(cast, who)).get(url(name, grant)).status_code == 404

    @pytest.mark.parametrize("name", ["grant-give-back", "grant-revoke"])
    def test_strangers_change_nothing(self, cast: Cast, grant: Grant, name: str) -> None:
        assert signed_in(cast.oscar).post(url(name, grant)).status_code == 404
        grant.refresh_from_db()
        assert grant.closed_at is None

    @pytest.mark.parametrize("name", ["grant-give-back", "grant-revoke"])
    def test_another_site_cannot_post(self, cast: Cast, grant: Grant, name: str) -> None:
        client = signed_in(cast.ada if name == "grant-give-back" else cast.chiara, csrf=True)
        assert client.post(url(name, grant)).status_code == 403
        grant.refresh_from_db()
        assert grant.closed_at is None

    def test_over_is_derived_from_the_clock(self, cast: Cast, grant: Grant, at) -> None:
        at(timedelta(minutes=31))
        page = signed_in(cast.ada).get(url("grant", grant)).content.decode()
        assert "You could run etl/prod" in page
        assert "Ended" in page
        assert url("grant-give-back", grant) not in page


class TestMachine:
    def test_a_team_mate_reads_when_it_really_ends(self, cast: Cast) -> None:
        grant = working(cast)
        page = signed_in(cast.ben).get(url("grant", grant)).content.decode()
        assert "etl worker may work on etl" in page
        assert "may finish reporting" in page
        access.revoke(grant, by=cast.chiara)
        page = signed_in(cast.ben).get(url("grant", grant)).content.decode()
        assert "nothing is finished" in page


class TestEnding:
    def test_done(self, cast: Cast, grant: Grant) -> None:
        assert signed_in(cast.ada).post(url("grant-give-back", grant), {"back": "access"})["Location"] == "/access"
        grant.refresh_from_db()
        assert grant.end_reason == "given_back"

    def test_done_by_link_is_nothing(self, cast: Cast, grant: Grant) -> None:
        assert signed_in(cast.ada).get(url("grant-give-back", grant)).status_code == 405

    @pytest.mark.parametrize("who", ["chiara", "priya"])
    def test_only_the_holder_is_done(self, cast: Cast, grant: Grant, who: str) -> None:
        answer = signed_in(getattr(cast, who)).post(url("grant-give-back", grant))
        assert answer.status_code == 403
        assert "Only the holder of an access can give it back." in answer.content.decode()

    def test_revoking_asks_once_more(self, cast: Cast, grant: Grant) -> None:
        client = signed_in(cast.chiara)
        page = client.get(url("grant-revoke", grant)).content.decode()
        assert "Revoke what Ada holds?" in page
        grant.refresh_from_db()
        assert grant.closed_at is None
        client.post(url("grant-revoke", grant))
        grant.refresh_from_db()
        assert grant.end_reason == "revoked"

    @pytest.mark.parametrize("who", ["ada", "olga"])
    def test_holder_and_auditor_cannot_revoke(self, cast: Cast, grant: Grant, who: str) -> None:
        client = signed_in(getattr(cast, who))
        assert client.get(url("grant-revoke", grant)).status_code == 403
        assert client.post(url("grant-revoke", grant)).status_code == 403
        grant.refresh_from_db()
        assert grant.closed_at is None

    def test_the_second_hears_that_it_is_over(self, cast: Cast, grant: Grant) -> None:
        access.give_back(grant, by=cast.ada)
        answer = signed_in(cast.chiara).post(url("grant-revoke", grant))
        assert answer.status_code == 409
        assert "over already" in answer.content.decode()
        assert signed_in(cast.ada).post(url("grant-give-back", grant)).status_code == 409


class TestMine:
    def test_live_waiting_and_over(self, cast: Cast, grant: Grant) -> None:
        over = cast.asks(cast.ada, (cast.deployment, "view"))
        decide.approve(over, by=cast.tomasz)
        access.give_back(over.grants.get(), by=cast.ada)
        waits = cast.asks(cast.ada, (cast.deployment, "operate"))
        page = signed_in(cast.ada).get("/access").content.decode()
        assert "You hold one grant" in page
        assert url("grant-give-back", grant) in page
        assert reverse("request-withdraw", args=[waits.pk]) in page
        assert "Ended early" in page

    def test_nobody_elses(self, cast: Cast, grant: Grant) -> None:
        page = signed_in(cast.ben).get("/access").content.decode()
        assert "You hold no access" in page
        assert grant.ref not in page
