"""The request page, the decision on it, the inbox: who sees, who may, and what happens when two are at it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Subject
from grants.lifecycle import access, decide
from grants.lifecycle.models import Decision, Grant, Request
from tests.cast import Cast
from tests.web.scene import more_resources


def signed_in(who: Subject, *, csrf: bool = False) -> Client:
    """A browser whose session the provider need not be asked about."""
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(who)
    session = client.session
    session["oidc_id_token_expiration"] = time.time() + 900
    session.save()
    return client


def url(name: str, row: Request) -> str:
    return reverse(name, args=[row.pk])


class TestPage:
    def test_tells_what_is_asked_by_whom_and_who_decides(self, cast: Cast) -> None:
        asked = cast.asks()
        page = signed_in(cast.chiara).get(url("request", asked)).content.decode()
        assert "Ada asks to run etl/prod for 30 min" in page
        assert asked.ref in page
        assert "The nightly run died on a schema change" in page
        assert "You own it" in page
        assert "deployments-run" in page
        assert "Tomasz" in page
        assert "if approved now" in page

    def test_approver_gets_both_buttons_and_a_note(self, cast: Cast) -> None:
        asked = cast.asks()
        page = signed_in(cast.chiara).get(url("request", asked)).content.decode()
        assert url("request-approve", asked) in page
        assert url("request-deny", asked) in page
        assert 'name="note"' in page
        assert url("request-withdraw", asked) not in page

    def test_who_asked_reads_why_they_cannot_decide(self, cast: Cast) -> None:
        asked = cast.asks()
        page = signed_in(cast.ada).get(url("request", asked)).content.decode()
        assert "You ask to run etl/prod" in page
        assert "You asked for this yourself" in page
        assert url("request-approve", asked) not in page
        assert url("request-withdraw", asked) in page

    def test_auditor_reads_and_has_no_button(self, cast: Cast) -> None:
        asked = cast.asks()
        page = signed_in(cast.olga).get(url("request", asked)).content.decode()
        assert "You are not among those who are asked." in page
        assert url("request-approve", asked) not in page

    def test_what_people_wrote_is_text(self, cast: Cast) -> None:
        asked = cast.asks()
        signed_in(cast.chiara).post(url("request-deny", asked), {"note": "<script>alert(1)</script>"})
        page = signed_in(cast.ada).get(url("request", asked)).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page

    def test_decided_says_by_whom_with_the_note(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.deny(asked, by=cast.chiara, note="View is enough here.")
        page = signed_in(cast.ada).get(url("request", asked)).content.decode()
        assert "You asked to run etl/prod" in page
        assert "Chiara" in page
        assert "View is enough here." in page
        assert "Denied" in page

    def test_lapsed_shows_before_any_sweep(self, cast: Cast, at) -> None:
        asked = cast.asks()
        at(timedelta(days=3, seconds=1))
        page = signed_in(cast.chiara).get(url("request", asked)).content.decode()
        assert "Lapsed" in page
        assert url("request-approve", asked) not in page

    def test_several_items_and_two_stages(self, cast: Cast) -> None:
        asked = cast.asks(cast.ada, (cast.deployment, "run"), (cast.pool, "view"))
        page = signed_in(cast.chiara).get(url("request", asked)).content.decode()
        assert "use two things" in page
        assert "etl/prod" in page

    def test_revoked_names_who_did_it(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.approve(asked, by=cast.chiara)
        access.revoke(Grant.objects.get(), by=cast.tomasz)
        page = " ".join(signed_in(cast.ada).get(url("request", asked)).content.decode().split())
        assert "<strong>Tomasz</strong> revoked the access" in page

    def test_earlier_asks_for_the_same_thing_stand_beside(self, cast: Cast) -> None:
        first = cast.asks()
        decide.deny(first, by=cast.chiara)
        page = signed_in(cast.chiara).get(url("request", cast.asks())).content.decode()
        assert "Ada on this before" in page
        assert first.ref in page


class TestStrangers:
    """Another person's request does not exist for who has nothing to do with it."""

    @pytest.mark.parametrize("who", ["oscar", "ben"])
    def test_reading_is_404(self, cast: Cast, who: str) -> None:
        asked = cast.asks()
        assert signed_in(getattr(cast, who)).get(url("request", asked)).status_code == 404

    @pytest.mark.parametrize("name", ["request-approve", "request-deny", "request-withdraw"])
    def test_posting_is_404_and_changes_nothing(self, cast: Cast, name: str) -> None:
        asked = cast.asks()
        assert signed_in(cast.oscar).post(url(name, asked)).status_code == 404
        asked.refresh_from_db()
        assert asked.state == "pending"
        assert not Decision.objects.exists()

    def test_no_such_request(self, cast: Cast) -> None:
        client = signed_in(cast.priya)
        assert client.get("/requests/999999").status_code == 404
        assert client.get(f"/requests/{2**80}").status_code == 404

    @pytest.mark.parametrize("name", ["request-approve", "request-deny", "request-withdraw"])
    def test_nothing_is_decided_by_opening_a_link(self, cast: Cast, name: str) -> None:
        asked = cast.asks()
        assert signed_in(cast.chiara).get(url(name, asked)).status_code == 405
        asked.refresh_from_db()
        assert asked.state == "pending"

    @pytest.mark.parametrize("name", ["request-approve", "request-deny", "request-withdraw"])
    def test_signed_out_is_sent_to_sign_in(self, cast: Cast, name: str) -> None:
        asked = cast.asks()
        answer = Client().post(url(name, asked))
        assert answer.status_code == 302
        assert answer["Location"].startswith("/signin")
        asked.refresh_from_db()
        assert asked.state == "pending"

    @pytest.mark.parametrize("name", ["request-approve", "request-deny", "request-withdraw"])
    def test_another_site_cannot_post(self, cast: Cast, name: str) -> None:
        asked = cast.asks()
        client = signed_in(cast.chiara, csrf=True)
        assert client.post(url(name, asked)).status_code == 403
        asked.refresh_from_db()
        assert asked.state == "pending"


class TestDeciding:
    def test_one_click_approves(self, cast: Cast) -> None:
        asked = cast.asks()
        answer = signed_in(cast.chiara).post(url("request-approve", asked))
        assert answer.status_code == 302
        assert answer["Location"] == url("request", asked)
        asked.refresh_from_db()
        assert asked.state == "approved"
        assert Grant.objects.get().beneficiary == cast.ada

    def test_back_goes_only_where_lists_are(self, cast: Cast) -> None:
        client = signed_in(cast.chiara)
        assert client.post(url("request-approve", cast.asks()), {"back": "inbox"})["Location"] == "/inbox"
        other = cast.asks(cast.ben)
        for_evil = client.post(url("request-approve", other), {"back": "https://evil.example"})
        assert for_evil["Location"] == url("request", other)

    @pytest.mark.parametrize("name", ["request-approve", "request-deny"])
    def test_nobody_decides_for_themselves(self, cast: Cast, name: str) -> None:
        asked = cast.asks(cast.chiara)  # an owner, who asks
        answer = signed_in(cast.chiara).post(url(name, asked), {"note": "I need it"})
        assert answer.status_code == 403
        page = answer.content.decode()
        assert "You asked for this yourself" in page
        assert "I need it" in page
        asked.refresh_from_db()
        assert asked.state == "pending"
        assert not Decision.objects.exists()

    @pytest.mark.parametrize("who", ["priya", "olga"])
    def test_seeing_all_is_not_deciding(self, cast: Cast, who: str) -> None:
        asked = cast.asks()
        assert signed_in(getattr(cast, who)).post(url("request-approve", asked)).status_code == 403
        assert not Decision.objects.exists()

    def test_who_asked_alone_withdraws(self, cast: Cast) -> None:
        asked = cast.asks()
        assert signed_in(cast.chiara).post(url("request-withdraw", asked)).status_code == 403
        assert signed_in(cast.ada).post(url("request-withdraw", asked)).status_code == 302
        asked.refresh_from_db()
        assert asked.state == "withdrawn"

    def test_second_is_told_who_was_first_and_keeps_the_note(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.approve(asked, by=cast.chiara)
        answer = signed_in(cast.tomasz).post(url("request-deny", asked), {"note": "Too long for this."})
        assert answer.status_code == 409
        page = answer.content.decode()
        assert "approved already by Chiara" in page
        assert "Too long for this." in page
        assert Decision.objects.count() == 1

    def test_a_note_too_long_is_said_beside_it_and_kept(self, cast: Cast) -> None:
        asked = cast.asks()
        note = "x" * (decide.NOTE_MAX + 1)
        answer = signed_in(cast.chiara).post(url("request-deny", asked), {"note": note})
        assert answer.status_code == 400
        page = answer.content.decode()
        assert "A note has 4096 characters at most; this has 4097." in page
        assert note in page
        assert not Decision.objects.exists()

    def test_a_null_character_is_an_error_not_a_crash(self, cast: Cast) -> None:
        asked = cast.asks()
        assert signed_in(cast.chiara).post(url("request-deny", asked), {"note": "a\x00b"}).status_code == 400

    def test_two_of_two(self, cast: Cast) -> None:
        asked = cast.asks(cast.ada, (cast.pool, "run"))
        first = signed_in(cast.chiara)
        first.post(url("request-approve", asked))
        asked.refresh_from_db()
        assert asked.state == "pending"
        page = first.get(url("request", asked)).content.decode()
        assert "You have approved this already" in page
        assert "Deny after all" in page
        assert first.post(url("request-approve", asked)).status_code in (403, 409)
        signed_in(cast.tomasz).post(url("request-approve", asked))
        asked.refresh_from_db()
        assert asked.state == "approved"
        assert Grant.objects.count() == 1

    def test_htmx_gets_the_matter_alone(self, cast: Cast) -> None:
        asked = cast.asks()
        answer = signed_in(cast.chiara).post(url("request-approve", asked), headers={"HX-Request": "true"})
        page = answer.content.decode()
        assert answer.status_code == 200
        assert page.lstrip().startswith('<div id="matter"')
        assert "<html" not in page
        assert f"Approved {asked.ref}" in page

    def test_htmx_is_told_of_a_conflict(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.withdraw(asked, by=cast.ada)
        answer = signed_in(cast.chiara).post(url("request-approve", asked), headers={"HX-Request": "true"})
        assert answer.status_code == 409
        assert "withdrawn already" in answer.content.decode()


class TestInbox:
    @pytest.mark.parametrize("page", ["home", "inbox"])
    def test_the_number_of_queries_does_not_grow_with_what_waits(self, cast: Cast, page: str) -> None:
        client, counts = signed_in(cast.chiara), []
        for more in ([cast.deployment], more_resources(cast, extra=15)[-16:-1]):
            for resource in more:
                cast.asks(cast.ada, (resource, "run"))
            with CaptureQueriesContext(connection) as queries:
                client.get(reverse(page))
            counts.append(len(queries))
        assert counts[1] <= counts[0] + 3, counts  # more of what is prefetched, not more for each

    def test_lists_what_waits_for_this_person_alone(self, cast: Cast) -> None:
        asked = cast.asks()
        assert url("request", asked) in signed_in(cast.chiara).get("/inbox").content.decode()
        for other in (cast.ada, cast.oscar, cast.priya):
            page = signed_in(other).get("/inbox").content.decode()
            assert url("request", asked) not in page
            assert "Nothing waits for you" in page

    def test_decided_by_me(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.deny(asked, by=cast.chiara, note="Not today.")
        page = signed_in(cast.chiara).get("/inbox?tab=decided").content.decode()
        assert asked.ref in page
        assert "Not today." in page
        assert "You have decided nothing yet" in signed_in(cast.tomasz).get("/inbox?tab=decided").content.decode()

    def test_pages(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grants.web.requests.views.PAGE", 2)
        asked = [cast.asks(cast.ada, (cast.deployment, level)) for level in ("view", "run", "operate")]
        client = signed_in(cast.chiara)
        first = client.get("/inbox").content.decode()
        assert asked[0].ref in first
        assert url("request", asked[2]) not in first
        second = client.get(f"/inbox?before={asked[1].pk}").content.decode()
        assert url("request", asked[2]) in second
        assert url("request", asked[0]) not in second

    @pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "٣", "1;drop"])
    def test_a_bad_page_is_said(self, cast: Cast, before: str) -> None:
        answer = signed_in(cast.chiara).get("/inbox", {"before": before})
        assert answer.status_code == 400
        assert "does not exist" in answer.content.decode()
