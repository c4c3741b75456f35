"""What a parser can judge of every page; test_pages_axe.py asks a browser for the rest."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from typing import override

import pytest
from django.conf import settings
from django.template.loader import render_to_string

from grants.lifecycle.models import Grant
from tests.cast import Cast
from tests.web.conftest import SignIn
from tests.web.scene import busy_day

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
NAMED = ("aria-label", "aria-labelledby", "title")


class Outline(HTMLParser):
    """Elements with their attributes, and the text of buttons and links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.wrapped: set[int] = set()  # elements that stand inside a label
        self.texts: dict[int, str] = {}
        self._open: list[int] = []
        self.feed(page)
        assert self._open == [], [self.elements[one] for one in self._open]

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        number = len(self.elements) - 1
        if any(self.elements[outer][0] == "label" for outer in self._open):
            self.wrapped.add(number)
        if tag not in VOID:
            self._open.append(number)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self.elements[self._open[-1]][0] == tag, f"</{tag}> closes nothing"
        self._open.pop()

    @override
    def handle_data(self, data: str) -> None:
        for outer in self._open:
            self.texts[outer] = self.texts.get(outer, "") + data.strip()

    def all(self, *tags: str) -> list[tuple[int, dict[str, str]]]:
        return [(number, attributes) for number, (tag, attributes) in enumerate(self.elements) if tag in tags]


def judge(page: str) -> None:
    outline = Outline(page)
    ids = Counter(attributes["id"] for _, attributes in outline.elements if "id" in attributes)
    labelled = {attributes.get("for") for _, attributes in outline.all("label")}
    assert [one for one, times in ids.items() if times > 1] == []
    assert len(outline.all("h1")) == 1
    assert len(outline.all("main")) == 1
    assert outline.all("html")[0][1]["lang"] == "en"
    assert all("alt" in attributes for _, attributes in outline.all("img"))
    for _, attributes in outline.elements:
        assert int(attributes.get("tabindex", "0")) <= 0
        for name in ("aria-labelledby", "aria-describedby", "popovertarget"):
            missing = [one for one in attributes.get(name, "").split() if one not in ids]
            assert missing == [], f"{name} names {missing}"
    for number, attributes in outline.all("input", "select", "textarea"):
        if attributes.get("type") != "hidden":
            named = number in outline.wrapped or attributes.get("id") in labelled or any(n in attributes for n in NAMED)
            assert named, attributes
    for number, attributes in outline.all("button", "a", "summary"):
        assert outline.texts.get(number) or any(name in attributes for name in NAMED), attributes
    for _, attributes in outline.all("time"):
        assert attributes["datetime"]
    for _, attributes in outline.all("form"):
        if attributes.get("method") == "post":
            assert 'name="csrfmiddlewaretoken"' in page


@pytest.fixture
def day(cast: Cast) -> Cast:
    busy_day(cast)
    return cast


@pytest.mark.parametrize(
    ("who", "address"),
    [
        ("ada", "/"),
        ("chiara", "/"),
        ("priya", "/"),
        ("oscar", "/"),
        ("ada", "/catalog"),
        ("ada", "/catalog?q=nothing-like-this&tag=x&mine=ask&retired=1"),
        ("ada", "/catalog/{deployment}"),
        ("oscar", "/catalog/{server}"),
        ("ada", "/requests/new"),
        ("ada", "/requests/new?item={orphan}&item={deployment}:run&item=x&find=etl"),
        ("ada", "/settings"),
        ("chiara", "/inbox"),
        ("ada", "/access"),
        ("ada", "/grants/{grant}"),
        ("ada", "/services"),
        ("ada", "/history"),
        ("priya", "/audit"),
        ("ada", "/connections"),
        ("ada", "/policy"),
        ("priya", "/status"),
    ],
)
def test_every_page_is_well_formed_and_named(day: Cast, sign_in: SignIn, who: str, address: str) -> None:
    rows = {"deployment": day.deployment.pk, "server": day.server.pk, "orphan": day.orphan.pk}
    address = address.format(grant=Grant.objects.filter(beneficiary=day.ada)[0].pk, **rows)
    answer = sign_in(getattr(day, who)).get(address)
    assert answer.status_code == 200
    judge(answer.text)


def test_a_form_with_errors_is_well_formed_too(day: Cast, sign_in: SignIn) -> None:
    client = sign_in(day.ada)
    for length in ("other", "until", "99999"):
        typed = {"item": day.deployment.pk, "do": "send", "length": length, "reason": "x"}
        judge(client.post("/requests/new", typed).text)
    judge(client.post("/settings", {"time_zone": "x", "theme": "y"}).text)


@pytest.mark.parametrize("name", ["down.html", "error.html"])
def test_bare_pages_need_nothing(name: str) -> None:
    judge(render_to_string(name, {"title": "It failed", "status": 500}))


def test_no_template_is_left_unused() -> None:
    folder = settings.BASE / "templates"
    code = "".join(
        path.read_text() for room in ("accounts", "grants", "portal") for path in (settings.BASE / room).rglob("*.py")
    )
    code += "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    unused = [path.name for path in folder.rglob("*.html") if path.relative_to(folder).as_posix() not in code]
    assert unused == []
