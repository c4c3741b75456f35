"""The table is complete for the installed server, says what the list of classes says, and is one line for one call."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.catalog.levels import WORDS, Level
from grants.gate.decision.limits import COMPUTED, LARGE, LISTED
from grants.gate.decision.table import Boundless, RouteTable, TwoLines
from grants.gate.decision.target import canonical
from grants.gate.decision.types import ANY, Body, Code, Match, Refusal, Route
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.routes.table import ROUTES
from grants.gate.prefect.scopes import Scope
from tests.adapters.contract_files import description
from tests.gate.prefect.served import TABLE
from tests.gate.raw_targets import raw_targets
from tests.real.prefect import PYTHON, missing

UUID = "11111111-1111-4111-8111-111111111111"
CLASSES = {
    "public": None,
    "any": ANY,
    "read": Level.VIEW,
    **{word: Level.of(word) for word in WORDS if word != "view"},
}

# Where a line differs from the class in contracts/prefect-routes.json, and why. Lists (gate R) are everybody's,
# narrowed to what each may see.
DEVIATIONS = {
    "GET /block_types/slug/{slug}/block_documents": "a list, narrowed: secrets only with `secret` on all of it",
    "POST /block_documents/filter": "the same",
    "POST /ui/schemas/validate": "Prefect works for the caller: `run` anywhere",
    "POST /templates/validate": "the same; templates are parts of automations: `admin`",
    "POST /automations/templates/validate": "the same",
}


# Routes that older servers have, and that nobody gets to: each ends all that the server holds.
REFUSED = {("POST", f"/api/admin/database/{what}") for what in ("create", "clear", "drop")}


def line(method: str, path: str) -> Match | Refusal:
    target = canonical(path.encode())
    return target if isinstance(target, Refusal) else TABLE.match(method, target)


# The installed server.


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    if sys.executable == PYTHON and importlib.util.find_spec("prefect") is None:
        missing("prefect")
    home = tmp_path_factory.mktemp("prefect")
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        "DO_NOT_TRACK": "1",
    }
    script = Path(__file__).with_name("walk_prefect.py")
    done = subprocess.run([PYTHON, "-P", script], env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found = {(method, path.replace(":str}", "}")) for method, path in json.loads(done.stdout.splitlines()[-1])}
    assert not [what for what in found if what[0] == "?"]
    return found


def test_every_registered_route_has_its_line_and_no_line_is_idle(registered: set[tuple[str, str]]) -> None:
    served = {what for what in registered if what[0] != "HEAD"}  # of pages only; nobody needs it
    lines = {(route.method, route.template) for route in ROUTES}
    assert len(lines) == len(ROUTES)
    assert len(served) > 180
    if sys.executable == PYTHON:  # the newest that is served
        assert lines == served
    else:
        assert served - lines <= REFUSED


def test_what_is_registered_for_head_is_pages_only(registered: set[tuple[str, str]]) -> None:
    heads = {path.removeprefix("/api") for method, path in registered if method == "HEAD"}
    assert heads == {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


def test_an_example_of_each_template_reaches_its_own_line() -> None:
    for route in ROUTES:
        found = line(route.method, example(route.template))
        assert isinstance(found, Match), route
        assert found.route is route


def example(template: str) -> str:
    text = re.sub(r"\{\w+:uuid\}", UUID, template).replace("{path:path}", "assets/index.js")
    return re.sub(r"\{\w+\}", "some-name", text)


# The list of classes.


def classes() -> dict[str, dict[str, Any]]:
    rows = description("prefect-routes.json")["routes"]
    return {f"{row['method']} {row['path']}": row for row in rows}


def plain(template: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", template.removeprefix("/api"))


def test_each_line_has_its_class_or_a_reason() -> None:
    lines = {f"{route.method} {plain(route.template)}": route for route in ROUTES if route.template.startswith("/api/")}
    known = classes()
    assert not (known.keys() | DEVIATIONS.keys()) - lines.keys()
    for what, row in known.items():
        route, need = lines[what], CLASSES[row["class"]]
        narrowed = route.need == ANY and route.scope is not None
        if row["gate"] == "R" and narrowed:
            continue
        if what in DEVIATIONS:
            assert route.need != need, f"{what} does not deviate any more"
            continue
        assert route.need == need, what
        if row["gate"] == "B":
            assert route.guard is not None or route.method == "WS", what


def test_the_vectors() -> None:
    rows = description("prefect-routes.json")["examples"]["rows"]
    assert len(rows) == 53
    for method, path, wanted, _rule in rows:
        found = line(method, f"/api{path}".replace(" ", "%20"))
        if wanted == "deny":
            assert isinstance(found, Refusal), path
        else:
            assert isinstance(found, Match), path


# Matching.


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/nope", Code.ROUTE),
        ("GET", "/api", Code.ROUTE),
        ("GET", "/api/", Code.ROUTE),
        ("GET", "/api/docs/x", Code.ROUTE),
        ("GET", "/docs/x", Code.ROUTE),
        ("GET", "/ui-settings/", Code.ROUTE),
        ("GET", "/api/flows/name/", Code.ROUTE),
        ("POST", "/api/work_pools", Code.ROUTE),
        ("POST", "/api/flow_runs/filter/", Code.ROUTE),
        ("POST", "/api/Flow_Runs/filter", Code.ROUTE),
        ("GET", f"/api/flow_runs/{UUID.replace('-', '')}", Code.ROUTE),
        ("GET", f"/api/flow_runs/{UUID}0", Code.ROUTE),
        ("HEAD", "/api/health", Code.METHOD),
        ("OPTIONS", "/api/flow_runs/filter", Code.METHOD),
        ("TRACE", "/", Code.METHOD),
        ("POST", "/", Code.METHOD),
        ("POST", "/v2/login", Code.METHOD),
        ("GET", "/api/events/in", Code.METHOD),
        ("WS", "/api/health", Code.METHOD),
        ("WS", "/", Code.METHOD),
        ("get", "/api/health", Code.METHOD),
        ("DELETE", "/api/flows/", Code.METHOD),
    ],
)
def test_what_no_line_takes_is_refused(method: str, path: str, code: Code) -> None:
    refusal = line(method, path)
    assert isinstance(refusal, Refusal)
    assert refusal.code is code
    assert refusal.status == {Code.ROUTE: 404, Code.METHOD: 405}[code]


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v2/", "/v2/runs/flow-run/x", "/runs", "/assets/index-1.js", "/favicon.ico"]
)
def test_the_files_of_the_ui_are_for_everybody_signed_in(path: str) -> None:
    found = line("GET", path)
    assert isinstance(found, Match)
    assert (found.route.need, found.route.body) == (ANY, Body.NONE)


def test_parameters_are_decoded_once() -> None:
    found = line("PATCH", "/api/work_pools/caf%C3%A9%20x/queues/%7Ea")
    assert isinstance(found, Match)
    assert found.params == {"work_pool_name": "café x", "name": "~a"}
    assert found.connection == "prefect"


def test_a_literal_beats_a_parameter() -> None:
    literal, parameter = Route("GET", "/a/b", Level.VIEW), Route("GET", "/a/{x}", Level.VIEW)
    for routes in ([literal, parameter], [parameter, literal]):
        compiled = RouteTable(routes, "p")
        for path, wanted in (("/a/b", literal), ("/a/c", parameter)):
            target = canonical(path.encode())
            assert not isinstance(target, Refusal)
            found = compiled.match("GET", target)
            assert isinstance(found, Match)
            assert found.route is wanted


@pytest.mark.parametrize(
    "templates",
    [
        ("/a/{x}", "/a/{y}"),
        ("/a/{x:uuid}", "/a/{y}"),
        ("/a", "/a"),
        ("/{x}/b", "/{y}/{z}/"[:-1]),
        ("/{x:path}", "/{y}"),
    ],
)
def test_two_lines_for_one_call_are_not_compiled(templates: tuple[str, str]) -> None:
    one, other = (Route("GET", template, Level.VIEW) for template in templates)
    if templates == ("/{x}/b", "/{y}/{z}"):
        RouteTable([one, other], "p")  # the literal wins where they first differ
        return
    with pytest.raises(TwoLines):
        RouteTable([one, other], "p")
    RouteTable([one, other._replace(method="POST")], "p")


# Any raw target is decided as a naive reader of the templates would.


@cache
def naive(method: str) -> list[tuple[re.Pattern[str], Route]]:
    def pattern(template: str) -> re.Pattern[str]:
        text = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
        text = re.sub(r"\{\w+\}", "[^/]+", text)
        text = re.sub(r"/\{\w+:path\}", "(?:/.*)?", text)
        uuid = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
        return re.compile(re.sub(r"\{\w+:uuid\}", uuid, text), re.DOTALL)

    return [(pattern(route.template), route) for route in ROUTES if route.method == method]


def judged_alike(raw: bytes, method: str) -> None:
    target = canonical(raw)
    if isinstance(target, Refusal):
        return
    found = TABLE.match(method, target)
    wanted = [route for form, route in naive(method) if form.fullmatch(target.path)]
    if target.path.split("/")[1] in {"api", "docs", "redoc", "openapi.json", "ui-settings", "v2"}:  # not the UI's first
        wanted = [route for route in wanted if route.template != "/{path:path}"]
    assert len(wanted) <= 1
    assert (found.route if isinstance(found, Match) else None) == (wanted[0] if wanted else None)


def test_raw_targets_are_judged_as_they_read() -> None:
    paths = [example(route.template) for route in ROUTES]
    for raw in raw_targets(paths, count=1000):
        for method in ("GET", "POST", "WS"):
            judged_alike(raw, method)


@given(
    st.sampled_from(ROUTES),
    st.lists(st.sampled_from(["filter", "name", UUID, "x", "", "count", "api", "v2"]), min_size=4, max_size=4),
)
def test_mixed_up_templates_are_judged_as_they_read(route: Route, words: list[str]) -> None:
    segments = example(route.template).split("/")
    for at, word in enumerate(words):
        if at + 2 < len(segments):
            segments[at + 2] = word
        judged_alike("/".join(segments).encode(), route.method)


# Shapes that every line must have.


def test_no_line_that_writes_is_open_to_anybody() -> None:
    harmless = {
        "/api/block_types/filter",
        "/api/block_schemas/filter",
    }
    for route in ROUTES:
        if route.need is None:
            assert route.template in {"/api/health", "/api/ready"}
        elif route.need == ANY and route.method != "GET" and not route.scope:
            assert route.template in harmless or route.method == "WS"


def test_bodies_that_decide_are_read() -> None:
    for route in ROUTES:
        if route.method in {"GET", "DELETE"}:
            assert route.body is Body.NONE
        elif route.method != "WS" and (route.guard is not None or route.scope):
            assert route.body is Body.JSON, route


# How much of a body each takes.

LARGER = {  # than a list may be, and why
    "POST /api/deployments/": "a definition: schema, parameters, job variables",
    "PATCH /api/deployments/{id:uuid}": "the same",
    "POST /api/deployments/{id:uuid}/create_flow_run": "parameters, of which Prefect takes 512 KiB",
    "POST /api/deployments/{id:uuid}/create_flow_run/bulk": "a hundred of them",
    "POST /api/flow_runs/": "parameters",
    "PATCH /api/flow_runs/{id:uuid}": "parameters",
    "POST /api/flow_runs/{id:uuid}/set_state": "a state with its error",
    "POST /api/flow_runs/{id:uuid}/resume": "what a paused run is told",
    "POST /api/flow_runs/{id:uuid}/input": "what a run is told",
    "POST /api/task_runs/": "a state with its error",
    "POST /api/task_runs/{id:uuid}/set_state": "a state with its error",
    "POST /api/logs/": "Prefect's clients send 4 MB at once",
    "POST /api/artifacts/": "a report",
    "PATCH /api/artifacts/{id:uuid}": "a report",
    "POST /api/events": "what a client has saved up",
    "POST /api/work_pools/": "a job template",
    "PATCH /api/work_pools/{name}": "a job template",
    "POST /api/block_types/": "a logo, an example",
    "PATCH /api/block_types/{id:uuid}": "a logo, an example",
    "POST /api/block_schemas/": "a schema with those it is made of",
    "POST /api/block_documents/": "certificates, whole kubeconfigs",
    "PATCH /api/block_documents/{id:uuid}": "the same",
}
COMPUTES = {
    "POST /api/ui/schemas/validate",
    "POST /api/templates/validate",
    "POST /api/automations/templates/validate",
    "POST /api/deployments/{id:uuid}/schedule",
}


def test_each_body_has_its_bound() -> None:
    """Of the table as it is served."""
    bodied = {route.name: route for route in PREFECT.routes if route.body is not Body.NONE}
    assert {route.name for route in PREFECT.routes if route.method in {"POST", "PUT", "PATCH"}} == bodied.keys()
    assert {name for name, route in bodied.items() if route.most > LISTED} == LARGER.keys()
    for name, route in bodied.items():
        assert 0 < route.most <= LARGE, name
        assert not route.scope or route.most <= LISTED, name
        assert name not in COMPUTES or route.most <= COMPUTED, name


@pytest.mark.parametrize(
    ("scope", "most"),
    [(None, 0), (None, -1), (None, LARGE + 1), (Scope.FLOWS, LISTED + 1)],
    ids=["none", "less", "more", "list"],
)
def test_a_line_whose_body_has_no_bound_is_not_compiled(scope: Scope | None, most: int) -> None:
    line = Route("POST", "/a", Level.VIEW, body=Body.JSON, scope=scope)
    RouteTable([line], "p")
    with pytest.raises(Boundless):
        RouteTable([line._replace(most=most)], "p")
