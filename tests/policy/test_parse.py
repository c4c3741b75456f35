"""Files with mistakes: every one is said at once, with line and column."""

from __future__ import annotations

import pytest

from grants.policy.connection_file import parse_connections
from grants.policy.language import parse_policy
from grants.policy.yaml_marks import PolicyErrors
from tests.cast import POLICY

GOOD = POLICY.splitlines(keepends=True)


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text)
    return [tuple(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        ("levels: [view, run, operate]", "levels: [view, opperate]", 11, 20, "did you mean `operate`"),
        ("longest: 8h", "longest: 8 hours", 12, 30, "write a length like 30m"),
        ("longest: 8h", "longest: 400d", 12, 30, "write a length"),
        ("longest: 8h", "longest: 0m", 12, 30, "write a length"),
        ("    reason: {min: 10}\n", "    drain: 25h\n", 15, 5, "at most 1d"),
        ("    reason: {min: 10}\n", "    drain: 30\n", 15, 5, "string"),
        ("    reason: {min: 10}\n", "    drain: soon\n", 15, 5, "write a length"),
        ("default: 30m", "default: 9h", 12, 16, "longer than the longest"),
        ("need: 1", "need: 0", 14, 10, "0"),
        ("need: 1", "need: many", 14, 10, "must be a integer"),
        ("    ask: anyone\n    levels: [view, run, operate]\n", "    levels: [view]\n", 8, 5, "`ask` is missing"),
        ("    stages:\n      - {need: 1, from: [owners]}\n", "", 8, 5, "`stages` is missing"),
        ("name: pools-two", "name: deployments-run", 16, 5, "Another rule"),
        ("name: pools-two", "name: Pools Two", 16, 5, "small letters"),
        ("from: [owners]", "from: [owner]", 14, 26, "write owners"),
        ("from: [owners]", "from: [{team: a, person: {idp: x, username: y}}]", 14, 26, "owners"),
        ("kind: deployment", "kind: deploiment", 9, 13, "kinds are"),
        ("match: {kind: deployment}", "match: {kinds: deployment}", 9, 13, "`kinds` is not known"),
        ("ask: anyone", "ask: everyone", 10, 5, "write anyone"),
        ("version: 1", "version: 2", 1, 1, "not one of 1"),
        ("owner_tags: false", "owner_tags: maybe", 2, 1, "must be a boolean"),
        ("owner_tags: false", "owner_tags: false\nowner_tags: true", 3, 1, "twice"),
        ("owner_tags: false", "1: false", 2, 1, "put it in quotes"),
        ("owner_tags: false", "owner_tags: !!python/object:os.system x", 2, 13, "not YAML"),
        ("owner_tags: false", "owner_tags: [", 4, 3, "not YAML"),
        ("owner_tags: false", "\towner_tags: false", 2, 1, "not YAML"),
        ("owner_tags: false", "owner_tags: &a false\nx: *a", 3, 4, "aliases"),
        ('name: "etl*"}, team: platform}', 'name: "etl*", owner: x}, team: platform}', 4, 80, "can't be found by"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_where_it_is(old: str, new: str, line: int, column: int, says: str) -> None:
    assert old in POLICY
    found = problems(POLICY.replace(old, new, 1))
    assert any(says in message for _, _, message in found), found
    where = [(at, col) for at, col, message in found if says in message]
    assert (line, column) in where, (where, found)


def test_all_mistakes_at_once_by_line() -> None:
    found = problems(POLICY.replace("longest: 8h", "longest: x").replace("longest: 4h", "longest: y"))
    assert [line for line, _, _ in found] == [12, 20, 28]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "rules", "version: 1", "null", "version: 1\nrules: {}", "\x00", "a" * 300_000, "[" * 10_000],
)
def test_what_is_no_policy(text: str) -> None:
    assert problems(text)


def test_a_bomb_is_refused_quickly() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    )
    assert "aliases" in problems(bomb)[0][2]


CONNECTION = "connections:\n  - {slug: prefect-prod, kind: prefect, url: 'http://prefect:4200/api/', environment: production, owner: platform, secret: 'env:X'}\n"


def test_connections() -> None:
    (spec,) = parse_connections(CONNECTION)
    assert (spec.slug, spec.url, spec.secret) == ("prefect-prod", "http://prefect:4200/api", "env:X")
    for host in ("prefect.example.org", "127.0.0.1:4200", "[::1]:4200"):
        assert parse_connections(CONNECTION.replace("owner: platform", f"host: '{host}'"))[0].host == host


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("http://prefect:4200/api/", "ftp://prefect", "write http(s)://"),
        ("http://prefect:4200/api/", "http://user:pw@prefect/api", "secret"),
        ("http://prefect:4200/api/", "http://169.254.169.254/latest", "link-local"),
        ("http://prefect:4200/api/", "http://[fe80::1]/api", "link-local"),
        ("http://prefect:4200/api/", "http://[::ffff:169.254.169.254]/api", "link-local"),
        ("http://prefect:4200/api/", "http://metadata.google.internal/x", "metadata"),
        ("http://prefect:4200/api/", "http://prefect:99999/api", "no address"),
        ("http://prefect:4200/api/", "http://prefect/api?x=1", "write http"),
        ("env:X", "hunter2", "never the secret itself"),
        ("env:X", "file:relative", "never the secret itself"),
        ("kind: prefect", "kind: airflow", "not one of"),
        ("slug: prefect-prod", "slug: Prefect Prod", "small letters"),
        ("owner: platform", "host: 'https://p.example.org'", "the host by which"),
        ("owner: platform", "host: P.example.org", "the host by which"),
        ("owner: platform", "host: 'p.example.org:0'", "the host by which"),
        ("owner: platform", "host: p.example.org/x", "the host by which"),
        ("owner: platform", "host: '.'", "the host by which"),
    ],
)  # fmt: skip
def test_bad_connections(old: str, new: str, says: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        parse_connections(CONNECTION.replace(old, new))
    assert says in str(caught.value)
    assert caught.value.problems[0].line == 2


@pytest.mark.parametrize(
    "url", ["ftp://u:hunter2@h", "http://u:hunter2@h/?x", f"http://u:hunter2@h/{'x' * 500}", "u:hunter2@h"]
)
def test_a_password_in_an_address_is_not_shown_again(url: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        parse_connections(CONNECTION.replace("http://prefect:4200/api/", url))
    assert "hunter2" not in str(caught.value)
    assert "put it into `secret`" in str(caught.value)


def test_a_host_is_named_once() -> None:
    entry = CONNECTION.splitlines()[1].replace("owner: platform", "host: p.example.org")
    with pytest.raises(PolicyErrors, match=r"Another connection is reached by p\.example\.org"):
        parse_connections(f"connections:\n{entry}\n{entry.replace('prefect-prod', 'prefect-two')}\n")


def test_a_slug_is_named_once() -> None:
    entry = CONNECTION.splitlines()[1]
    with pytest.raises(PolicyErrors, match="Another connection"):
        parse_connections(f"{CONNECTION}{entry}\n")
