"""The house: folders are domain words, files are short, edges are thin."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = [*sorted((ROOT / "templates").rglob("*.html")), *sorted((ROOT / "portal").rglob("templates/*.html"))]
CODE = [path for room in ("accounts", "grants", "portal") for path in sorted((ROOT / room).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FORBIDDEN = {"utils", "util", "core", "common", "helpers", "services", "misc", "lib", "base_service"}
WRITES = {"save", "create", "bulk_create", "update_or_create", "get_or_create", "delete", "bulk_update"}


def test_no_folder_says_nothing() -> None:
    named = {part for path in CODE for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
    assert not named & FORBIDDEN


@pytest.mark.parametrize(
    "path", [path for path in [*CODE, *TESTS] if "migrations" not in path.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_lines_of_templates_are_short() -> None:
    """The linter holds code to this. A line of a mail (templates/mail) is sent as it stands, so those may be longer."""
    assert len(TEMPLATES) > 50
    long = [
        f"{path.relative_to(ROOT)}:{n}: {len(line)} characters"
        for path in TEMPLATES
        for n, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if len(line) > 120
    ]
    assert long == []


@pytest.mark.parametrize(
    "path",
    [
        *(ROOT / "grants/web").rglob("*.py"),
        ROOT / "grants/tasks.py",
        *(ROOT / "grants/management").rglob("*.py"),
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_edges_write_nothing_themselves(path: Path) -> None:
    calls = [
        f"line {node.lineno}: .{node.func.attr}()"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
    ]
    assert calls == []


def test_no_view_is_imported_for_a_helper() -> None:
    """What `urls` names is a view; it is imported there alone. That no page imports another is a contract of import-linter."""
    web = ROOT / "grants/web"
    imports = {path: _imports_of(path) for path in web.rglob("*.py")}
    views = {name for name in imports[web / "urls.py"] if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
    assert len(views) > 10
    found = {str(path.relative_to(ROOT)): names & views for path, names in imports.items() if path.name != "urls.py"}
    assert {path: names for path, names in found.items() if names} == {}


def _imports_of(path: Path) -> set[str]:
    """Modules, as far as a name tells: `from a import b` is a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_a_reference_is_written_in_one_place() -> None:
    """grants.references. People are called so in accounts too, which imports nothing of grants."""
    written = re.compile(r"""["'](?:.*\W)?(?!G-41)[RGSCP]-["'{]|\[RGSCP]{2,}\]|\b[RGSCP]-\(""")
    found = {
        str(path.relative_to(ROOT))
        for path in [*CODE, *TEMPLATES]
        if "migrations" not in path.parts and written.search(path.read_text())
    }
    assert found == {"accounts/models.py"}


def test_the_root_holds_no_binary() -> None:
    for path in (path for path in ROOT.iterdir() if not path.name.startswith(".")):
        if path.is_file():
            path.read_text(encoding="utf-8")  # raises for what is no text


def test_only_the_registry_and_its_own_folder_know_a_kind_of_orchestrator() -> None:
    gate = ROOT / "grants/gate"
    outside = [path for path in gate.rglob("*.py") if gate / "prefect" not in path.parents]
    assert len(outside) > 30
    knowing = [str(path.relative_to(gate)) for path in outside if "prefect" in path.read_text().lower()]
    assert knowing == ["registry.py"]


# Where bytes leave for other servers: each has a deadline for the whole exchange, and a limit on what comes back.
OUTGOING = {
    "httpcore.ConnectionPool": ["grants/adapters/transport.py"],
    "httpcore.HTTPProxy": ["grants/adapters/transport.py"],
    "aiohttp.ClientSession": ["grants/gate/doors/upstream.py"],
}
CALLS = re.compile(
    r"\b(httpx\.(?:Async)?(?:Client|HTTPTransport)|httpx\.(?:get|post|put|patch|delete|head|options|request|stream)"
    r"|httpcore\.\w*(?:Pool|Proxy|request|stream)|aiohttp\.(?:ClientSession|request)|requests\.(?:get|post|put|request|Session)|http\.client\.\w+"
    r"|urllib3\.\w+|smtplib\.SMTP\w*|urlopen|socket\.create_connection|asyncio\.open_connection)(?=\()"
)


def test_calls_go_out_where_they_are_bounded() -> None:
    """`portal/demo` drives its own parts on this machine."""
    found: dict[str, list[str]] = {}
    for path in CODE:
        name = str(path.relative_to(ROOT))
        if not name.startswith("portal/demo/"):
            for call in set(CALLS.findall(path.read_text())):
                found.setdefault(call, []).append(name)
    assert found == OUTGOING


def test_no_answer_of_the_portal_is_streamed() -> None:
    """It would go on for who has gone, and be kept for who does not read (portal/front.py). The provider of the demo is not the portal."""
    streamed = [
        path
        for path in CODE
        if "portal/demo/" not in str(path) and re.search(r"StreamingHttpResponse|FileResponse", path.read_text())
    ]
    assert streamed == []


def test_migrations_are_named() -> None:
    for path in (*(ROOT / "grants/migrations").glob("0*.py"), *(ROOT / "accounts/migrations").glob("0*.py")):
        assert "_auto_" not in path.name


@pytest.mark.xdist_group("canary")
def test_a_group_stays_on_one_worker(request: pytest.FixtureRequest) -> None:
    """xdist knows a group by the id that it gave the test; with a pytest that lets it give none it groups nothing."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@canary")
