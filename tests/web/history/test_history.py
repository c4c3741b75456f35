"""The history: whose it shows, what the filters find, and files: JSON Lines, and a CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Subject
from grants import clock
from grants.lifecycle import access, decide
from grants.lifecycle.models import Request
from grants.lifecycle.read_models import history as pages
from grants.web.history import file_rows
from tests.cast import Cast
from tests.web.requests.test_requests import signed_in


@pytest.fixture
def past(cast: Cast) -> dict[str, Request]:
    """One request of every fate, by ada, but for ben's."""
    made = {level: cast.asks(cast.ada, (cast.deployment, level)) for level in ("view", "run", "operate")}
    pool = {level: cast.asks(cast.ada, (cast.pool, level)) for level in ("view", "run", "operate")}
    decide.approve(made["view"], by=cast.chiara)
    decide.approve(made["run"], by=cast.tomasz)
    access.revoke(made["run"].grants.get(), by=cast.chiara)
    decide.deny(made["operate"], by=cast.chiara, note="No.")
    decide.withdraw(pool["view"], by=cast.ada)
    bens = cast.asks(cast.ben)
    decide.approve(bens, by=cast.chiara)
    access.give_back(bens.grants.get(), by=cast.ben)
    return {
        "live": made["view"],
        "revoked": made["run"],
        "denied": made["operate"],
        "withdrawn": pool["view"],
        "pending": pool["run"],
        "pending too": pool["operate"],
        "given_back": bens,
    }


def found(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/history.csv{query}")
    assert answer.status_code == 200, answer.content
    return rows_of(answer.content.decode(), "csv")


def rows_of(text: str, ending: str) -> list[dict[str, Any]]:
    if ending == "csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.split("\n")[:-1]]


def told(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/history.jsonl{query}")
    assert answer.status_code == 200, answer.content
    return rows_of(answer.content.decode(), "jsonl")


def refs(client: Client, query: str = "") -> set[str]:
    return {row["request"] for row in found(client, query)}


class TestWhose:
    def test_admin_and_auditor_see_all(self, cast: Cast, past: dict[str, Request]) -> None:
        everything = {request.ref for request in past.values()}
        assert refs(signed_in(cast.priya)) == everything
        assert refs(signed_in(cast.olga)) == everything

    def test_owners_see_what_they_own(self, cast: Cast, past: dict[str, Request]) -> None:
        assert refs(signed_in(cast.chiara)) == {request.ref for request in past.values()}

    def test_others_see_their_own(self, cast: Cast, past: dict[str, Request]) -> None:
        assert refs(signed_in(cast.ben)) == {past["given_back"].ref}
        assert refs(signed_in(cast.oscar)) == set()
        assert [row["request"] for row in told(signed_in(cast.ben))] == [past["given_back"].ref]
        assert told(signed_in(cast.oscar)) == []

    def test_filters_reach_no_further(self, cast: Cast, past: dict[str, Request]) -> None:
        client = signed_in(cast.oscar)
        for query in ("?person=Ada", f"?q={past['live'].ref}", "?state=denied", f"?person={cast.ada.ref}"):
            assert refs(client, query) == set()
            page = client.get(f"/history{query}").content.decode()
            assert "Nothing matches" in page
            assert "etl/prod" not in page

    def test_page_links_to_grants_and_requests(self, cast: Cast, past: dict[str, Request]) -> None:
        page = signed_in(cast.priya).get("/history").content.decode()
        assert reverse("grant", args=[past["live"].grants.get().pk]) in page
        assert reverse("request", args=[past["denied"].pk]) in page
        assert "Revoked" in page
        assert "Ended early" in page

    def test_signed_out(self, cast: Cast) -> None:
        assert Client().get("/history.csv").status_code == 302
        assert Client().get("/history.jsonl").status_code == 302


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "fates"),
        [
            ("?state=live", {"live"}),
            ("?state=revoked", {"revoked"}),
            ("?state=given_back", {"given_back"}),
            ("?state=ended", {"revoked", "given_back"}),
            ("?state=elapsed", set()),
            ("?state=denied", {"denied"}),
            ("?state=withdrawn", {"withdrawn"}),
            ("?state=pending", {"pending", "pending too"}),
            ("?state=lapsed", set()),
            ("?person=ben", {"given_back"}),
            ("?person=BEN@example.org", {"given_back"}),
            ("?level=operate", {"denied", "pending too"}),
            ("?q=etl%2Fprod&level=view", {"live"}),
            ("?q=nightly+schema&person=ben", {"given_back"}),
            ("?connection=prefect-prod&environment=production&state=denied", {"denied"}),
            ("?since=2000-01-01&until=2000-01-02", set()),
        ],
    )
    def test_find(self, cast: Cast, past: dict[str, Request], query: str, fates: set[str]) -> None:
        assert refs(signed_in(cast.priya), query) == {past[fate].ref for fate in fates}

    @pytest.mark.parametrize("rare", [0, 6, pages.RARE])
    def test_words_are_found_be_they_rare_or_common(
        self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch, rare: int
    ) -> None:
        """Requests have seven reasons alike here."""
        monkeypatch.setattr(pages, "RARE", rare)
        client = signed_in(cast.priya)
        assert refs(client, "?q=SCHEM") == {request.ref for request in past.values()}
        assert refs(client, "?q=schema+nosuchthing") == refs(client, "?q=!!") == set()
        assert refs(client, "?q=schema&state=denied") == {past["denied"].ref}
        assert refs(signed_in(cast.ben), "?q=schema") == {past["given_back"].ref}

    @pytest.mark.parametrize("rare", [0, pages.RARE])
    @pytest.mark.parametrize("state", ["live", "ended", "revoked", "given_back"])
    def test_states_are_found_be_they_rare_or_common(
        self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch, rare: int, state: str
    ) -> None:
        monkeypatch.setattr(pages, "RARE", rare)
        fates = {"revoked", "given_back"} if state == "ended" else {state}
        for person in (cast.priya, cast.chiara):
            assert refs(signed_in(person), f"?state={state}") == {past[fate].ref for fate in fates}

    @pytest.mark.parametrize("state", ["live", "ended", "elapsed", "revoked"])
    def test_common_states_are_met_on_the_way(
        self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch, state: str
    ) -> None:
        """Fault: Exists(), which becomes a join of all grants that are so (20,000 live: 118,000 buffers, now 16,000)."""
        monkeypatch.setattr(pages, "RARE", 0)
        items = pages.matching(pages.Filters(state=state), cast.priya, clock.now())
        plan = items.parts[0].order_by("-pk")[:50].explain()
        assert "SubPlan" in plan, plan
        assert "Semi Join" not in plan, plan

    def test_names_of_resources_are_read_once(self, cast: Cast, past: dict[str, Request]) -> None:
        """Faults: a subquery for each of the parts, of which chiara sees six."""
        client = signed_in(cast.chiara)
        with CaptureQueriesContext(connection) as asked:
            client.get("/history?q=etl")
        assert sum(query["sql"].count("%etl%") for query in asked.captured_queries) == 1

    def test_ids(self, cast: Cast, past: dict[str, Request]) -> None:
        client = signed_in(cast.priya)
        assert refs(client, f"?q={past['denied'].ref.lower()}") == {past["denied"].ref}
        assert refs(client, f"?q={past['live'].grants.get().ref}") == {past["live"].ref}
        assert refs(client, f"?person={cast.ben.ref}") == {past["given_back"].ref}

    def test_time_alone_moves_states(self, cast: Cast, past: dict[str, Request], at) -> None:
        client = signed_in(cast.priya)
        at(timedelta(hours=1))
        assert refs(client, "?state=live") == set()
        assert refs(client, "?state=elapsed") == {past["live"].ref}
        at(timedelta(days=4))
        assert refs(client, "?state=pending") == set()
        assert refs(client, "?state=lapsed") == {past["pending"].ref, past["pending too"].ref}

    def test_days_are_the_persons(self, cast: Cast, at) -> None:
        at(datetime(2031, 5, 1, 22, 30, tzinfo=UTC))  # 2 May 00:30 in Berlin
        asked = cast.asks()
        Subject.objects.filter(pk=cast.ada.pk).update(time_zone="Europe/Berlin")
        client = signed_in(cast.ada)
        assert refs(client, "?since=2031-05-02") == {asked.ref}
        assert refs(client, "?until=2031-05-01") == set()
        Subject.objects.filter(pk=cast.ada.pk).update(time_zone="America/New_York")
        assert refs(client, "?until=2031-05-01") == {asked.ref}

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("?state=gone", "There is no such state"),
            ("?level=root", "There is no such level"),
            ("?connection=airflow", "There is no such connection"),
            ("?environment=moon", "There is no such environment"),
            ("?since=yesterday", "Write the day as"),
            ("?since=0001-01-01", "Write the day as"),
            ("?until=9999-12-31", "Write the day as"),
            ("?since=2026-02-02&until=2026-01-01", "The last day is before the first"),
            ("?before=x", "does not exist"),
            ("?before=-5", "does not exist"),
            ("?q=a%00b", "Null characters"),
            (f"?q={'x' * 201}", "at most 200"),
        ],
    )
    def test_bad_ones_are_said(self, cast: Cast, query: str, said: str) -> None:
        client = signed_in(cast.priya)
        page, text = client.get(f"/history{query}"), client.get(f"/history.csv{query}")
        assert (page.status_code, text.status_code) == (400, 400)
        assert said in page.content.decode()
        assert said in text.content.decode()

    @pytest.mark.parametrize("query", [f"?before={'9' * 30}", f"?after={'9' * 30}", f"?q=R-{'9' * 18}", "?person=S-0"])
    def test_ids_too_big_find_nothing_or_all(self, cast: Cast, query: str) -> None:
        assert signed_in(cast.priya).get(f"/history{query}").status_code == 200

    def test_typed_filters_stay_typed(self, cast: Cast) -> None:
        page = signed_in(cast.priya).get("/history?q=%22%3E%3Cscript%3E&state=denied").content.decode()
        assert "<script>" not in page.replace('<script src="', "")
        assert "&quot;&gt;&lt;script&gt;" in page
        assert '<option value="denied" selected>' in page


class TestPages:
    def test_go_back_and_forth(self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grants.lifecycle.read_models.history.PAGE", 3)
        client = signed_in(cast.priya)
        seen: list[list[int]] = []
        page = client.get("/history?level=view&level=").context["page"]
        while True:
            seen.append([row.item.pk for row in page.rows])
            if not page.older:
                break
            page = client.get(f"/history?before={page.older}").context["page"]
        everything = [pk for page in seen for pk in page]
        assert [len(page) for page in seen] == [3, 3, 1]
        assert everything == sorted(everything, reverse=True)
        newer = client.get(f"/history?after={page.newer}").context["page"]
        assert [row.item.pk for row in newer.rows] == seen[1]
        assert newer.newer is not None
        assert newer.older is not None

    def test_links_keep_the_filters(
        self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grants.lifecycle.read_models.history.PAGE", 1)
        page = signed_in(cast.priya).get("/history?person=ada").content.decode()
        assert "?person=ada&amp;before=" in page
        assert "/history.csv?person=ada" in page

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    @pytest.mark.parametrize("rows", [1, 2, 3, 7])
    def test_a_file_that_is_not_all_names_the_next(
        self, cast: Cast, past: dict[str, Request], monkeypatch: pytest.MonkeyPatch, rows: int, ending: str
    ) -> None:
        """Faults: a bound that is not held, no word of what is left, a part that begins anew or loses the filters."""
        monkeypatch.setattr("grants.web.files.PART", rows)
        client, query, read = signed_in(cast.priya), "?person=ada", []
        while query:
            answer = client.get(f"/history.{ending}{query}")
            file = rows_of(answer.content.decode(), ending)
            assert 0 < len(file) <= rows
            read += [row["request"] for row in file]
            query = answer.get("Link", "").removesuffix('>; rel="next"').removeprefix(f"</history.{ending}")
            assert ("more-follows" in answer["Content-Disposition"]) == bool(query)
        everything = [request.ref for fate, request in past.items() if fate != "given_back"]
        assert sorted(read) == sorted(everything)


class TestFiles:
    def test_they_say_what_the_page_says(self, cast: Cast, past: dict[str, Request], at) -> None:
        """At every moment of every fate. Fault: a state that SQL and Python tell differently."""
        moments = (timedelta(), timedelta(minutes=15), timedelta(hours=1), timedelta(days=4))
        for wait in moments:
            now = at(wait)
            rows = pages.rows(pages.matching(pages.Filters(), cast.priya, now).newest(20), now)
            page = [(row.ref, row.word, int(row.length.total_seconds()), row.deciders) for row in rows]
            lines = told(signed_in(cast.priya))
            assert [
                (row["grant"] or row["request"], row["state"], row["seconds"], row["decided_by"]) for row in lines
            ] == page
            over = {row.grant.ref for row in rows if row.grant and row.state == "ended"}
            assert {row["grant"] for row in lines if row["ended_at"]} == over

    def test_both_have_the_same_rows(self, cast: Cast, past: dict[str, Request]) -> None:
        client = signed_in(cast.chiara)
        lines = told(client)
        assert tuple(lines[0]) == file_rows.COLUMNS
        flat = [{**row, "decided_by": "; ".join(row["decided_by"]), "seconds": str(row["seconds"])} for row in lines]
        assert [{name: value or "" for name, value in row.items()} for row in flat] == found(client)

    def test_no_text_breaks_a_line(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        """Such a reason is refused today, but there are older rows."""
        reason = 'a\r\nb\u2028c "d" \\ {"grant": "G-1"}, \x01\x7f =1'
        monkeypatch.setattr("accounts.typed.hidden_in", lambda _: "")
        made = cast.asks(reason=reason)
        client = signed_in(cast.ada)
        assert [(row["request"], row["reason"]) for row in told(client)] == [(made.ref, reason)]
        assert [(row["request"], row["reason"]) for row in found(client)] == [(made.ref, reason)]
        assert client.get("/history.jsonl").content.count(b"\n") == 1

    def test_a_part_looks_up_its_own_rows(self, cast: Cast, past: dict[str, Request]) -> None:
        """Fault: a plain join, for which all grants and resources are read where a part has some thousand rows."""
        told = {"ids": [1, 2, 3], "now": clock.now(), "ending": timedelta(hours=1), "words": "{}"}
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_nestloop = off")  # whatever else can be done instead is done
            cursor.execute(f"EXPLAIN {file_rows._ROWS}", told)
            plan = "\n".join(line for (line,) in cursor.fetchall())
        rows, _, _names_of_who_decided = plan.partition("InitPlan")
        assert rows.count("Nested Loop") == 6, plan

    def test_names_that_decided_are_read_once_a_row(self, cast: Cast) -> None:
        """Fault: an expression of the cell, which names it twice or three times."""
        assert file_rows._LINES["csv"].count("grants_decision d") == 1
        with connection.cursor() as cursor:
            told = {"ids": [1], "now": clock.now(), "ending": timedelta(hours=1), "words": "{}", "formula": [61]}
            cursor.execute("EXPLAIN " + file_rows._LINES["csv"].partition("(")[2].rpartition(") TO STDOUT")[0], told)
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert plan.count("on grants_decision") == 1, plan

    def test_none(self, cast: Cast) -> None:
        client = signed_in(cast.ada)
        assert client.get("/history.jsonl").content == b""
        assert client.get("/history.csv").content.decode() == ",".join(file_rows.COLUMNS) + "\r\n"

    @pytest.mark.parametrize("path", ["/history.xlsx", "/history.csv%0A", "/history.csvx", "/history."])
    def test_no_other_kind(self, cast: Cast, path: str) -> None:
        assert signed_in(cast.priya).get(path).status_code == 404


class TestCsv:
    def test_columns_and_times(self, cast: Cast, past: dict[str, Request]) -> None:
        row = next(row for row in found(signed_in(cast.priya), "?state=given_back"))
        assert tuple(row) == file_rows.COLUMNS
        assert row["person"] == "Ben"
        assert row["environment"] == "production"
        assert row["end_reason"] == "given_back"
        assert row["decided_by"] == "Chiara"
        assert datetime.fromisoformat(row["began_at"]).utcoffset() == timedelta(0)
        assert row["began_at"].endswith("Z")

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
    def test_no_cell_is_a_formula(self, cast: Cast, start: str) -> None:
        Subject.objects.filter(pk=cast.ada.pk).update(name=f'{start}HYPERLINK("https://evil.example","x")')
        asked = cast.asks(reason="=cmd|' /C calc'!A0 and more")
        (row,) = found(signed_in(cast.priya), f"?q={asked.ref}")
        assert row["person"].startswith(f"'{start}")
        assert row["reason"].startswith("'=")

    def test_quoting_survives_commas_quotes_and_lines(self, cast: Cast) -> None:
        reason = 'first, "second"\r\nthird line; done'
        cast.asks(reason=reason)
        client = signed_in(cast.ada)
        (row,) = found(client)
        assert row["reason"] == reason
        answer = client.get("/history.csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer["Content-Disposition"]
        assert answer.content.count(b"\r\n") == 3
