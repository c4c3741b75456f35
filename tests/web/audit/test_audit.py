"""The audit page: for two roles only, ids named at reading, whole or broken said after a look at every event."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from django.core import signing
from django.db import connection, transaction
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from grants.audit import export, record
from grants.audit.chain import canonical, link
from grants.audit.models import AuditEvent
from grants.audit.verbs import Verb
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant
from grants.tokens import issue
from grants.web.audit import file_rows, views
from grants.web.audit import record as pages
from tests.cast import Cast
from tests.conftest import connect
from tests.web.history.test_history import rows_of
from tests.web.requests.test_requests import signed_in


def seqs(client: Client, query: str = "") -> list[int]:
    answer = client.get(f"/audit{query}")
    assert answer.status_code == 200
    return [line.seq for line in answer.context["lines"]]


def verbs(client: Client, query: str = "") -> list[str]:
    return [line.verb for line in client.get(f"/audit{query}").context["lines"]]


class TestWho:
    @pytest.mark.parametrize("who", ["ada", "chiara", "oscar"])
    def test_others_are_refused(self, cast: Cast, who: str) -> None:
        client = signed_in(getattr(cast, who))
        assert client.get("/audit").status_code == 403
        assert client.post("/audit/verify").status_code == 403
        assert client.get("/audit.csv").status_code == 403
        assert client.get("/audit.jsonl").status_code == 403

    @pytest.mark.parametrize("who", ["priya", "olga"])
    def test_admin_and_auditor_read(self, cast: Cast, who: str) -> None:
        assert signed_in(getattr(cast, who)).get("/audit").status_code == 200

    def test_verify_is_a_post_from_here(self, cast: Cast) -> None:
        assert signed_in(cast.olga).get("/audit/verify").status_code == 405
        assert signed_in(cast.olga, csrf=True).post("/audit/verify").status_code == 403
        assert Client().post("/audit/verify").status_code == 302


class TestEvents:
    def test_names_are_looked_up(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.approve(asked, by=cast.chiara)
        page = " ".join(signed_in(cast.olga).get("/audit").content.decode().split())
        assert "<strong>Chiara</strong> approved, access opened" in page
        assert "<strong>Ada</strong> asked for access" in page
        assert reverse("request", args=[asked.pk]) in page
        assert reverse("grant", args=[asked.grants.get().pk]) in page
        assert "etl/prod (prefect-prod)" in page
        payload = bytes(AuditEvent.objects.get(verb=Verb.REQUEST_ASKED).payload).decode()
        assert "Ada" not in payload
        assert "etl" not in payload

    def test_a_credential_is_named_by_its_key(self, cast: Cast) -> None:
        grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
        issued = issue.issue(grant, by=cast.ada)
        page = signed_in(cast.priya).get("/audit").content.decode()
        assert "issued a service token" in page
        assert issued.credential.key_id in page
        assert issued.token not in page

    def test_filters(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.approve(asked, by=cast.chiara)
        grant = Grant.objects.get()
        access.revoke(grant, by=cast.tomasz)
        other = cast.asks(cast.ben)
        client = signed_in(cast.olga)
        assert verbs(client, f"?thing={asked.ref}") == ["request.approved", "request.asked"]
        assert verbs(client, f"?thing={grant.ref.lower()}") == ["grant.revoked", "request.approved"]
        assert verbs(client, "?verb=request.asked&actor=ben") == ["request.asked"]
        assert verbs(client, f"?actor={cast.tomasz.ref}") == ["grant.revoked"]
        assert "request.asked" in verbs(client, "?thing=etl/prod")
        assert verbs(client, f"?thing={other.ref}") == ["request.asked"]
        assert verbs(client, "?thing=nobody-is-called-this") == []
        assert verbs(client, "?until=2001-01-01") == []

    def test_one_id_is_not_a_part_of_another(self, cast: Cast) -> None:
        asked = cast.asks()
        with transaction.atomic():
            record(Verb.REQUEST_WITHDRAWN, by="test", request=asked.pk * 10)
            record(Verb.REQUEST_WITHDRAWN, by="test", request=int(f"7{asked.pk}"))
            record(Verb.CATALOG_SYNCED, by="test", resources=[asked.pk * 10, 10**9])
        client = signed_in(cast.olga)
        assert len(seqs(client, f"?thing={asked.ref}")) == 1
        assert len(seqs(client, f"?thing=R-{asked.pk}0")) == 1
        assert len(seqs(client, f"?thing=R-{asked.pk}00")) == 0

    def test_gaps_are_said_when_filtered(self, cast: Cast) -> None:
        cast.asks()
        page = signed_in(cast.olga).get("/audit?verb=subject.changed&thing=Ada").content.decode()
        assert "about something else" in page or page.count('class="link"') == 1

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("?verb=world.ended", "There is no such verb"),
            ("?since=soon", "Write the day as"),
            ("?since=0001-01-01", "Write the day as"),
            ("?before=x", "does not exist"),
            ("?before=0", "does not exist"),
            ("?thing=a%00", "Null characters"),
        ],
    )
    def test_bad_filters_are_said(self, cast: Cast, query: str, said: str) -> None:
        answer = signed_in(cast.olga).get(f"/audit{query}")
        assert answer.status_code == 400
        assert said in answer.content.decode()

    @pytest.mark.parametrize("thing", ["R-999999999999999999", "(", "[a-", "\\", "%", "'; --", '"', "S-1|.*"])
    def test_no_filter_is_a_pattern(self, cast: Cast, thing: str) -> None:
        assert signed_in(cast.olga).get("/audit", {"thing": thing, "actor": thing}).status_code == 200

    def test_pages(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grants.web.audit.views.PAGE", 4)
        client = signed_in(cast.olga)
        last = AuditEvent.objects.order_by("-seq")[0].seq
        assert seqs(client) == [last, last - 1, last - 2, last - 3]
        assert seqs(client, f"?before={last - 3}")[0] == last - 4
        assert seqs(client, f"?before={'9' * 30}")[0] == last


def lines(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/audit.jsonl{query}")
    assert answer.status_code == 200
    return rows_of(answer.content.decode(), "jsonl")


def rows(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/audit.csv{query}")
    assert answer.status_code == 200
    return rows_of(answer.content.decode(), "csv")


class TestAbout:
    """What an event is about is an index over the event itself."""

    def test_sql_reads_an_event_as_the_page_does(self, cast: Cast) -> None:
        """Faults: a kind, the items, the one who acted, or all but the first of a list left out."""
        grant = decide.approve(cast.asks(cast.ada, (cast.deployment, "run"), (cast.pool, "view")), by=cast.chiara)
        issue.issue(grant.grants.order_by("pk")[0], by=cast.ada)
        access.revoke(Grant.objects.order_by("pk")[1], by=cast.tomasz)
        with transaction.atomic():
            record(Verb.CATALOG_SYNCED, by="sweeper", resources=[7, 70, 7], policy=True, why="R-1", grants=[])
        told = AuditEvent.objects.extra(select={"about": "audit_about(actor, payload)"})
        kinds = {"request", "grant", "subject", "resource", "connection", "policy"}
        seen = set()
        for event in told:
            mentioned = pages._mentions(json.loads(bytes(event.payload)))
            expected = {f"{kind}-{pk}" for kind, pk in mentioned if kind in kinds}
            if event.actor.startswith("S-"):
                expected.add(f"subject-{event.actor[2:]}")
            assert set(event.about) == expected, event
            seen |= {name.partition("-")[0] for name in event.about}
        assert seen >= kinds - {"connection"}

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\xff\x00",
            b"[]",
            b"1",
            b"null",
            b"[" * 100_000,
            b'{"grant":{"id":1},"request":null,"subject":true,"resource":1.5,"policy":-3,"grants":[[2]]}',
            b'{"grants":[99999999999999999999]}',
            b'{"items":["x:run",7,null],"x":{"grant":4}}',
        ],
        ids=range(9),
    )
    def test_no_payload_stops_an_event(self, commits: None, cast: Cast, payload: bytes) -> None:
        """Faults: an index, or a page, that fails at what it cannot read."""
        with connect("stint_app") as app:
            app.execute("SELECT audit_append('x', 'S-5', %s, '{}', '{}', '{}', '{}', '{}')", [payload])
            (about,) = app.execute("SELECT audit_about('S-5', %s)", [payload]).fetchone()
        assert set(about) - {"resource-7"} == {"subject-5"}
        assert "x" in verbs(signed_in(cast.olga), "?thing=S-5")

    @pytest.mark.parametrize(
        ("query", "index"),
        [("thing=R-17", "about"), ("thing=etl", "about"), ("actor=S-3", "actor"), ("verb=grant.revoked", "verb")],
    )
    def test_filters_are_looked_up(self, cast: Cast, query: str, index: str) -> None:
        """Fault: an expression that is not the index's."""
        form = views.Filter(QueryDict(query))
        assert form.is_valid()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        assert f"auditevent_{index}" in views._matching(form.cleaned_data).order_by().explain()


class TestFiles:
    def test_what_was_recorded_can_be_checked_without_us(self, cast: Cast) -> None:
        decide.approve(cast.asks(), by=cast.chiara)
        events = lines(signed_in(cast.olga))
        assert [event["seq"] for event in events] == list(range(len(events), 0, -1))
        for event in events:
            at = datetime.fromisoformat(event["at"])
            payload = canonical(event["facts"])
            hashed = link(bytes.fromhex(event["prev"]), event["seq"], at, event["verb"], event["actor"], payload)
            assert hashed.hex() == event["hash"]

    def test_both_have_the_same_rows_as_the_page(self, cast: Cast) -> None:
        asked = cast.asks()
        decide.approve(asked, by=cast.chiara)
        client = signed_in(cast.olga)
        assert tuple(rows(client)[0]) == file_rows.COLUMNS
        for query in ("", f"?thing={asked.ref}", "?verb=request.asked&actor=ada", "?until=2001-01-01&before=3"):
            told = lines(client, query)
            assert [event["seq"] for event in told] == seqs(client, query)
            flat = [{**event, "seq": str(event["seq"]), "facts": canonical(event["facts"]).decode()} for event in told]
            assert flat == rows(client, query)

    def test_bad_filters_are_said(self, cast: Cast) -> None:
        answer = signed_in(cast.olga).get("/audit.jsonl?since=soon")
        assert answer.status_code == 400
        assert "Write the day as" in answer.content.decode()

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_a_file_that_is_not_all_names_the_next(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch, ending: str
    ) -> None:
        monkeypatch.setattr("grants.web.files.PART", 5)
        client, query, read = signed_in(cast.olga), "?verb=subject.changed", []
        while query:
            answer = client.get(f"/audit.{ending}{query}")
            part = rows_of(answer.content.decode(), ending)
            assert 0 < len(part) <= 5
            read += [int(event["seq"]) for event in part]
            query = answer.get("Link", "").removesuffix('>; rel="next"').removeprefix(f"</audit.{ending}")
        added = AuditEvent.objects.filter(verb=Verb.SUBJECT_CHANGED).order_by("-seq")
        assert read == list(added.values_list("seq", flat=True))

    @pytest.mark.parametrize(
        ("payload", "said"),
        [
            (b"\xff\x00fe", "\\377\\000fe"),
            (b"no json", "no json"),
            (b'{"request":\n1}', {"request": 1}),
            (b"=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
            (b"", ""),
        ],
    )
    def test_what_was_tampered_with_spoils_no_other_line(
        self, commits: None, cast: Cast, payload: bytes, said: object
    ) -> None:
        cast.asks()
        seq = AuditEvent.objects.get(verb=Verb.REQUEST_ASKED).seq
        cast.asks(cast.ben)
        with connect("stint_owner") as owner:
            owner.execute("ALTER TABLE grants_auditevent DISABLE TRIGGER unchangeable")
            owner.execute(
                "UPDATE grants_auditevent SET payload = %s, verb = '=1', actor = '@x' WHERE seq = %s", [payload, seq]
            )
            owner.execute("ALTER TABLE grants_auditevent ENABLE TRIGGER unchangeable")
        client = signed_in(cast.olga)
        told = {event["seq"]: event for event in lines(client)}
        assert len(told) == AuditEvent.objects.count()
        assert (told[seq]["facts"], told[seq]["verb"]) == (said, "=1")
        assert all(isinstance(event["facts"], dict) for number, event in told.items() if number != seq)
        cells = next(row for row in rows(client) if row["seq"] == str(seq))
        assert (cells["verb"], cells["actor"]) == ("'=1", "'@x")
        assert not cells["facts"].startswith("=")


class TestVerify:
    @pytest.fixture(autouse=True)
    def key(self, commits: None, settings) -> None:
        if not settings.ENV.audit_key_file.exists():
            export.make_key(settings.ENV.audit_key_file)
        settings.ENV.audit_heads_file.unlink(missing_ok=True)

    def test_whole(self, commits: None, cast: Cast) -> None:
        cast.asks()
        export.export_head()
        page = signed_in(cast.olga).post("/audit/verify").content.decode()
        assert "The record is whole" in page

    def test_in_place(self, commits: None, cast: Cast) -> None:
        page = signed_in(cast.olga).post("/audit/verify", headers={"HX-Request": "true"}).content.decode()
        assert "The record is whole" in page
        assert "<html" not in page

    def test_a_long_record_is_checked_a_while_at_a_time(
        self, commits: None, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The page says how far it came and goes on; what it goes on from can't be made up."""
        monkeypatch.setattr("grants.audit.verify.PAGE", 4)
        monkeypatch.setattr("grants.web.audit.views.GO_ON_SECONDS", 0.0)
        cast.asks()
        of = AuditEvent.objects.count()
        client, walk, pages = signed_in(cast.olga), "", []
        while not pages or "The record is whole" not in pages[-1]:
            answer = client.post("/audit/verify", {"walk": walk}, headers={"HX-Request": "true"})
            pages.append(answer.content.decode())
            walk = answer.context.get("walk", "")
            assert len(pages) <= of
        assert f"Checking: 4 of {of} events" in pages[0]
        assert 'hx-trigger="load, submit"' in pages[0]
        assert len(pages) == of // 4 + 1
        for forged in ("nonsense", signing.dumps([0, [of, "00" * 32, of, []]], salt="another")):
            page = client.post("/audit/verify", {"walk": forged}).content.decode()
            assert f"Checking: 4 of {of} events" in page

    @pytest.mark.parametrize(
        "tamper",
        [
            "UPDATE grants_auditevent SET actor = 'S-999' WHERE seq = {seq}",
            "UPDATE grants_auditevent SET payload = convert_to('{{\"request\":1}}', 'UTF8') WHERE seq = {seq}",
            "UPDATE grants_auditevent SET payload = '\\xff00fe' WHERE seq = {seq}",
            "UPDATE grants_auditevent SET verb = 'no.verb' WHERE seq = {seq}",
            "DELETE FROM grants_auditevent WHERE seq = {seq}",
        ],
    )
    def test_the_first_broken_event_is_named(self, commits: None, cast: Cast, tamper: str) -> None:
        cast.asks()
        seq = AuditEvent.objects.get(verb=Verb.REQUEST_ASKED).seq
        cast.asks(cast.ben)
        with connect("stint_owner") as owner:
            owner.execute("ALTER TABLE grants_auditevent DISABLE TRIGGER unchangeable")
            owner.execute(tamper.format(seq=seq))
            owner.execute("ALTER TABLE grants_auditevent ENABLE TRIGGER unchangeable")
        client = signed_in(cast.olga)
        page = client.post("/audit/verify").content.decode()
        assert f"The record is broken at event {seq}" in page
        # What was tampered with can still be read, listed and filtered.
        assert client.get("/audit").status_code == 200
        assert client.get("/audit?thing=Ada").status_code == 200

    def test_heads_that_cannot_be_read_are_said(self, commits: None, cast: Cast, settings) -> None:
        export.export_head()
        settings.ENV.audit_key_file.unlink()
        client = signed_in(cast.olga)
        assert "could not be read" in client.get("/audit").content.decode()
        answer = client.post("/audit/verify")
        assert answer.status_code == 200
        assert "could not be checked" in answer.content.decode()
