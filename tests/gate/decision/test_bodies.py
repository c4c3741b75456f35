"""A body is one thing, or it is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from grants.gate.decision.bodies import (
    DEEPEST,
    MOST_ESCAPES,
    MOST_SIGNS,
    dump,
    dump_in_parts,
    loads,
    parse,
    refused_kind,
)
from grants.gate.decision.types import Refusal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_what_is_read_is_written_the_same(value: object) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse(raw) == value
    assert json.loads(dump(parse(raw))) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    body = parse(raw)
    if not isinstance(body, Refusal):
        dump(body)


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Content-Type": "application/json"}, True),
        ({"Authorization": "Bearer x", "Content-Type": 'application/json; charset="UTF-8"'}, True),
        ({"Authorization": "Bearer x"}, True),  # Prefect's client of 3.6 says nothing of it
        ({}, False),  # a page of another site can send a Blob without a type, and a cookie goes with it
        ({"Cookie": "__Host-stint-gate=x"}, False),
        ({"Authorization": "Bearer x", "Content-Type": "text/plain"}, False),
        ({"Authorization": "Bearer x", "Content-Type": ""}, False),
        ({"Authorization": "Bearer x", "Content-Encoding": "gzip"}, False),
    ],
)
def test_what_says_that_a_body_is_json(headers: dict[str, str], taken: bool) -> None:
    assert (refused_kind(CIMultiDict(headers), empty=False) is None) == taken


@pytest.mark.parametrize(
    "raw", [b"[" * DEEPEST + b"]" * DEEPEST, b'{"a":"' + b"[" * 500 + b'"}', b'"' + b'\\"[' * 500 + b'"']
)
def test_what_is_deep_enough(raw: bytes) -> None:
    assert not isinstance(parse(raw), Refusal)


@pytest.mark.parametrize(
    "raw", [b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), b'{"a":' * 65 + b"1" + b"}" * 65, b"[" * 50_000]
)
def test_what_is_too_deep(raw: bytes) -> None:
    refusal = parse(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


@pytest.mark.parametrize("number", [b"1" * 101, b"-" + b"9" * 4_200, b"0." + b"1" * 4_200, b"1" * 4_200 + b"e-4200"])
def test_a_number_has_few_digits(number: bytes) -> None:
    """4 MB of such numbers hold the loop for most of a second, in one call."""
    refusal = parse(b"[" + number + b"]")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
    assert "digits" in refusal.why
    with pytest.raises(ValueError, match="digits"):
        loads(b"[" + number + b"]")
    assert parse(b"[" + b"1" * 100 + b"]") == loads(b"[" + b"1" * 100 + b"]") == [int("1" * 100)]


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    refusal = parse(b'{"password": hunter2}')
    assert isinstance(refusal, Refusal)
    assert "hunter2" not in refusal.why


@given(VALUES)
def test_parts_are_the_whole(value: object) -> None:
    try:
        whole = dump(value)
    except UnicodeEncodeError:
        return
    assert dump_in_parts(value) == whole


# Each would hold the loop, or a thread that does not give way, for longer than its length says.
COSTLY = {
    "objects": b"[" + b"{}," * MOST_SIGNS + b"0]",
    "numbers": b"[" + b"0," * (MOST_SIGNS + 1) + b"0]",
    "keys": b"{" + b",".join(b'"%x":0' % number for number in range(MOST_SIGNS + 2)) + b"}",
    "open": b"[" * 8_000_000,
    "quotes": b"[" * 100 + b'"' * 4_000_000,
    "escapes": b'"' + b"\\n" * (MOST_ESCAPES + 1) + b'"',
    "behind a text": b'["' + b'\\"' * 3 + b'\\\\",' + b"[]," * MOST_SIGNS + b"0]",
}


@pytest.mark.parametrize("raw", COSTLY.values(), ids=COSTLY)
def test_what_costs_too_much_is_not_read(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(json, "loads", read)
    refusal = parse(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 413


@pytest.mark.parametrize("text", ["a,b;[c]{d}" * 50_000, '"\\,' * 100_000, "\n\t" * 100_000])
def test_signs_in_a_text_cost_nothing(text: str) -> None:
    """A log line may hold a table."""
    assert parse(json.dumps([text] * 2 + [[]] * 70).encode()) == [text] * 2 + [[]] * 70
