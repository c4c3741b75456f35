"""One target, one meaning: what is decided on is what the server decodes, and nothing is decoded twice."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grants.gate.decision.target import canonical
from grants.gate.decision.types import Code, Refusal, Target
from tests.gate.raw_targets import PROBES, raw_targets

TAKEN = {
    b"/": ("/", "/"),
    b"/api/flows/": ("/api/flows/", "/api/flows/"),
    b"/api/%77ork_pools/pool%2Da": ("/api/work_pools/pool-a", "/api/work_pools/pool-a"),
    b"/api/work_pools/caf%c3%a9": ("/api/work_pools/café", "/api/work_pools/caf%C3%A9"),
    b"/api/work_pools/a%20b": ("/api/work_pools/a b", "/api/work_pools/a%20b"),
    b"/api/work_pools/team+a.1:x": ("/api/work_pools/team+a.1:x", "/api/work_pools/team+a.1:x"),
    b"/api/work_pools/...": ("/api/work_pools/...", "/api/work_pools/..."),
    b"/api/health?": ("/api/health", "/api/health"),
    b"/a?x=%2e%2E%2f+1&x=2&y": ("/a", "/a?x=..%2F+1&x=2&y="),
    b"/api/work_pools/%ef%bc%8fprod": ("/api/work_pools/／prod", "/api/work_pools/%EF%BC%8Fprod"),
}
REFUSED = [
    b"*",
    b"",
    b"?",
    b"http://evil/x",
    b"//evil/x",
    b"/a//b",
    b"/a//",
    b"/.",
    b"/a/..",
    b"/a/./b",
    b"/a/%2e/b",
    b"/a/%2E%2e/b",
    b"/a/x%2ey",
    b"/a%2fb",
    b"/a%5cb",
    b"/a\\b",
    b"/a;b",
    b"/a%3bb",
    b"/a#b",
    b"/a%23b",
    b"/a%3fb",
    b"/a%252fb",
    b"/a%25b",
    b"/a%00b",
    b"/a%7fb",
    b"/a%c2%85b",
    b"/a%e2%80%a8",
    b"/a%0d%0ab",
    b"/a b",
    b"/a\xc3\xa9",
    b"/a%c0%ae",
    b"/a%ff",
    b"/a%",
    b"/a%2",
    b"/a%g0",
    b"/a?b#c",
    b"/a?b=%",
    b"/a?b=%00",
    b"/a?b=%0a",
    b"/a?b=%ff",
    b"/a?b=\xff",
    b"/" + b"a" * 8190,
    b"/" + b"%c3%a9" * 1365 + b"?" + b"!" * 600,
    b"/a?" + b"&".join(b"x" for _ in range(101)),
]


@pytest.mark.parametrize(("raw", "meant"), TAKEN.items(), ids=repr)
def test_what_has_one_meaning_is_taken_in_one_spelling(raw: bytes, meant: tuple[str, str]) -> None:
    target = canonical(raw)
    assert isinstance(target, Target)
    assert (target.path, target.raw) == meant


@pytest.mark.parametrize("raw", REFUSED, ids=lambda raw: repr(raw[:40]))
def test_what_has_two_is_refused(raw: bytes) -> None:
    refusal = canonical(raw)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, Code.TARGET)
    assert refusal.why


def holds(raw: bytes) -> bool:
    """Whether it was taken; whatever was has one meaning for us, for the server and for a second look."""
    target = canonical(raw)
    if isinstance(target, Refusal):
        return False
    again = canonical(target.raw.encode("ascii"))
    assert again == target
    path, _, query = target.raw.partition("?")
    assert path == target.raw_path
    # The server decodes once (uvicorn), and nobody who decodes once more sees anything else.
    assert unquote(path, errors="strict") == target.path == unquote(target.path)
    assert unquote(raw.decode("latin-1").partition("?")[0]) == target.path
    assert tuple(parse_qsl(query, keep_blank_values=True)) == target.query
    segments = target.path[1:].split("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    assert not set("\\;#?%\x00\r\n") & set(target.path)
    return True


@given(st.binary(max_size=60).map(lambda tail: b"/" + tail))
def test_any_bytes(raw: bytes) -> None:
    holds(raw)


_PIECES = st.sampled_from(
    [
        b"/",
        b".",
        b"..",
        b"%2e",
        b"%2F",
        b"%5c",
        b"%25",
        b"%",
        b";",
        b"#",
        b"?",
        b"&",
        b"=",
        b"+",
        b"%00",
        b"%c3%a9",
        b"a",
        b"%61",
        b"prod",
        b"%20",
        b"\\",
        b"~",
    ]
)


@given(st.lists(_PIECES, max_size=14).map(b"".join).map(lambda tail: b"/" + tail))
@example(b"/%2525")
def test_any_mixture_of_what_matters(raw: bytes) -> None:
    holds(raw)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_a_name_survives_however_it_is_encoded(names: list[str]) -> None:
    raw = b"".join(b"/" + b"".join(b"%%%02x" % byte for byte in name.encode()) for name in names)
    target = canonical(raw.replace(b"%2e", b"."))
    if isinstance(target, Target):
        assert target.path == "/" + "/".join(names)


def test_a_thousand_raw_targets() -> None:
    targets = raw_targets(["/api/work_pools/prod", "/api/admin/storage", "/api/deployments/name/etl/prod"])
    assert len(targets) >= 1000 + len(set(PROBES))
    taken = sum(holds(raw) for raw in targets)
    assert 50 < taken < len(targets) / 2  # the spellings are neither all harmless nor all nonsense
