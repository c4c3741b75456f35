"""A body is one thing, or it is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.gate.bodies import DEEPEST, dump, parse
from grants.gate.types import Refusal

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
    "raw", [b"[" * DEEPEST + b"]" * DEEPEST, b'{"a":"' + b"[" * 500 + b'"}', b'"' + b'\\"[' * 500 + b'"']
)
def test_what_is_deep_enough(raw: bytes) -> None:
    assert not isinstance(parse(raw), Refusal)


@pytest.mark.parametrize(
    "raw", [b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), b'{"a":' * 65 + b"1" + b"}" * 65, b"[" * 8_000_000]
)
def test_what_is_too_deep(raw: bytes) -> None:
    refusal = parse(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    refusal = parse(b'{"password": hunter2}')
    assert isinstance(refusal, Refusal)
    assert "hunter2" not in refusal.why
