"""What a refused caller hears: the sentence, the link, and nothing that it may not know."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from grants.catalog.levels import Key, Level
from grants.gate.decision.headers import wants_page
from grants.gate.decision.types import ANY, Ask, Code, Refusal
from grants.gate.doors import page
from grants.gate.doors.refusals import Context, render, sentence
from grants.gate.prefect.kind import PREFECT
from tests.gate.worlds import HOUR, NOW, SERVER, grant, person, snapshot

POOL, DEPLOYMENT = Key("prefect", "pool", "p1"), Key("prefect", "deployment", "d1")
KNOWN = snapshot([grant(1, POOL, Level.VIEW), grant(2, DEPLOYMENT, Level.VIEW), grant(3, SERVER, Level.VIEW)])
CONTEXT = Context(
    portal="https://stint.example.org/",
    snapshot=KNOWN,
    method="POST",
    path="/api/deployments/d1/create_flow_run",
    sign_in="https://stint.example.org/gate/enter?at=prefect",
    things=PREFECT.things,
)
PAGE = CONTEXT._replace(method="GET", path="/runs/flow-run/x")
RUN = Refusal(403, Code.NO_GRANT, Ask((DEPLOYMENT, POOL, SERVER), Level.RUN))


def detail(refusal: Refusal, context: Context = CONTEXT) -> str:
    status, headers, body = render(refusal, html=False, context=context)
    assert status == refusal.status
    assert headers["Content-Type"] == "application/json"
    said = json.loads(body)
    assert set(said) == {"detail", "code"}
    assert said["code"] == refusal.code.value
    text: str = said["detail"]
    return text


def test_a_program_hears_why_and_where_to_ask() -> None:
    assert detail(RUN) == (
        "You do not have run on this deployment. Ask for it: https://stint.example.org/requests/new?item=102%3Arun"
    )


def test_the_link_is_to_the_nearest_thing_that_has_the_level() -> None:
    assert "item=101%3Awork" in detail(RUN._replace(ask=Ask((DEPLOYMENT, POOL, SERVER), Level.WORK)))
    assert "item=103%3Aadmin" in detail(RUN._replace(ask=Ask((SERVER,), Level.ADMIN)))
    nowhere = detail(RUN._replace(ask=Ask((Key("prefect", "pool", "p9"),), Level.RUN)))
    assert nowhere.endswith("https://stint.example.org/catalog")


def test_what_was_called_by_name_is_named_and_looked_up_in_the_portal() -> None:
    """One that exists and one that doesn't get the same answer, but for the name that was typed."""
    there = Ask((DEPLOYMENT, POOL, SERVER), Level.VIEW, ("deployment", "etl/prod"))
    gone = Ask((SERVER, Key("prefect", "any", "work")), Level.VIEW, ("deployment", "etl/prod"), missing=True)
    heard = {detail(Refusal(403, Code.NO_GRANT, ask)) for ask in (there, gone)}
    assert len(heard) == 1
    said, _, link = heard.pop().partition(" Ask for it: ")
    assert said == "You do not have view on deployment etl/prod."
    address = urlsplit(link)
    assert (address.netloc, address.path) == ("stint.example.org", "/requests/new")
    assert parse_qs(address.query) == {
        "connection": ["prefect"],
        "kind": ["deployment"],
        "name": ["etl/prod"],
        "level": ["view"],
    }
    flow = Ask((DEPLOYMENT, POOL, SERVER), Level.VIEW, ("flow", "etl"))
    assert detail(Refusal(403, Code.NO_GRANT, flow)).endswith("/catalog")  # nobody asks for a flow


def test_no_name_of_the_catalog_is_said() -> None:
    for html in (True, False):
        for ask in (
            RUN.ask,
            Ask((POOL, SERVER), Level.WORK),
            Ask((DEPLOYMENT,), Level.VIEW, ("deployment", "typed/this")),
        ):
            for code in (Code.NO_GRANT, Code.ENDED):
                _, headers, body = render(Refusal(403, code, ask), html=html, context=PAGE if html else CONTEXT)
                assert b"name of" not in body
                assert b"name of" not in json.dumps(headers).encode()


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("html", [True, False])
def test_every_reason_has_its_words(code: Code, html: bool) -> None:
    refusal = Refusal(403, code, RUN.ask)
    assert sentence(refusal, PREFECT.things).endswith(".")
    status, headers, body = render(refusal, html=html, context=PAGE._replace(sign_in=""))
    assert status == 403
    assert body
    assert headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in headers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 413, 415, 417, 429, 503, 504])
def test_no_basic_prompt_and_retry_only_in_trouble(status: int) -> None:
    for html in (True, False):
        said, headers, _ = render(Refusal(status, Code.STALE), html=html, context=PAGE)
        assert said == status
        assert ("Retry-After" in headers) is (status in (429, 503))
        assert not {name.lower() for name in headers} & {"www-authenticate", "location", "set-cookie"}


@pytest.mark.parametrize("code", [Code.CREDENTIAL, Code.UNKNOWN, Code.EXPIRED, Code.REVOKED])
def test_a_person_without_a_session_is_sent_to_get_one(code: Code) -> None:
    status, headers, body = render(Refusal(401, code), html=True, context=PAGE)
    assert (status, headers["Location"], body) == (302, PAGE.sign_in, b"")
    assert render(Refusal(401, code), html=False, context=PAGE)[0] == 401
    assert render(Refusal(401, code), html=True, context=PAGE._replace(sign_in=""))[0] == 401


NAVIGATES = {"Accept": "text/html,*/*", "Sec-Fetch-Mode": "navigate"}


def test_a_page_is_for_who_goes_to_an_address() -> None:
    """The address of a log to download, too; but a program that takes anything hears JSON below the API."""
    assert wants_page("GET", NAVIGATES, api=True)
    assert wants_page("GET", NAVIGATES, api=False)
    assert wants_page("GET", {"Accept": "text/html"}, api=False)
    assert not wants_page("GET", {"Accept": "text/html"}, api=True)
    assert not wants_page("GET", {"Accept": "*/*", "Sec-Fetch-Mode": "navigate"}, api=True)
    for api in (True, False):
        assert not wants_page("POST", NAVIGATES, api=api)
        assert not wants_page("GET", NAVIGATES | {"Sec-Fetch-Mode": "cors"}, api=api)


def test_one_who_was_switched_off_is_not_sent_round_in_circles() -> None:
    assert render(Refusal(401, Code.INACTIVE), html=True, context=PAGE)[0] == 401


def test_nothing_is_asked_for_where_asking_does_not_help() -> None:
    for refusal in (
        Refusal(404, Code.NOT_FOUND, RUN.ask),
        Refusal(503, Code.STALE),
        Refusal(403, Code.ORIGIN),
        Refusal(403, Code.NO_GRANT, Ask((SERVER,), ANY)),
    ):
        assert "Ask for it" not in detail(refusal)


# The page.


def shown(refusal: Refusal, context: Context = PAGE) -> str:
    status, headers, body = render(refusal, html=True, context=context)
    assert status == refusal.status
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == page.CSP
    return body.decode()


def test_the_page_has_the_button() -> None:
    text = shown(RUN)
    assert "<h1>You do not have run on this deployment</h1>" in text
    assert (
        '<a class="button primary" href="https://stint.example.org/requests/new?item=102%3Arun">Request access</a>'
        in text
    )
    assert "Nothing was changed." in text
    assert "<dd>GET /runs/flow-run/x</dd>" in text


def test_the_page_is_whole_and_loads_nothing() -> None:
    text = shown(RUN)
    assert not re.search(r"<(script|link|img|iframe|form)\b|url\(|@import|style=|\son\w+=", text)
    assert "default-src 'none'" in page.CSP


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))


def test_what_a_caller_wrote_is_text() -> None:
    evil = "\"><script>alert(1)</script>&'{x}"
    plain, hostile = (
        shown(
            Refusal(403, Code.NO_GRANT, Ask((POOL,), Level.VIEW, ("pool", name))),
            PAGE._replace(path=f"/{name}", method=name),
        )
        for name in ("plain", evil)
    )
    assert Tags(hostile).tags == Tags(plain).tags
    assert "&lt;script&gt;alert(1)" in hostile


def had(context: Context, code: Code = Code.NO_GRANT, ask: Ask = Ask((DEPLOYMENT, POOL, SERVER), Level.RUN)) -> str:  # noqa: B008 (a value)
    text = shown(Refusal(403, code, ask), context)
    left = text.partition("<p>You have</p>")[2].partition("</div>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", left).split())


def test_the_page_says_what_the_caller_has() -> None:
    """Of what it asks for, the most of it, and the caller's own alone."""
    mine = [
        grant(1, POOL, Level.VIEW),
        grant(2, POOL, Level.MANAGE, until=NOW - HOUR / 2),
        grant(3, Key("prefect", "pool", "p9"), Level.OPERATE),
        grant(4, DEPLOYMENT, Level.OPERATE, subject=2),
        grant(5, SERVER, Level.VIEW, starts_at=NOW + HOUR / 2),
    ]
    context = PAGE._replace(snapshot=snapshot(mine), principal=person(), now=NOW)
    assert had(context) == "view until 2026-11-24 13:00 UTC, grant G-1"
    assert 'href="https://stint.example.org/grants/1">G-1</a>' in shown(RUN, context)
    assert had(context, ask=Ask((SERVER,), Level.RUN)) == "nothing"
    assert had(context._replace(principal=person(3))) == "nothing"
    assert had(context._replace(principal=person(grants=(3,)))) == "nothing"
    assert had(context._replace(principal=None)) == "nothing"
    over = context._replace(snapshot=snapshot(mine[1:2]))
    assert had(over, Code.ENDED) == "nothing any more manage ended 2026-11-24 11:30 UTC, grant G-2"


def test_trouble_looks_like_trouble() -> None:
    text = shown(Refusal(503, Code.STALE))
    assert "Refused at the gate" not in text
    assert "Request access" not in text
