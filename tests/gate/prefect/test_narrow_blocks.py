"""Block documents are cut down, and their secrets pass only where all of them may be read."""

from __future__ import annotations

from typing import Any

import pytest

from grants.gate.decision.types import (
    Fold,
    Json,
    Send,
)
from grants.gate.prefect.lists.narrow import narrow
from grants.gate.prefect.lookups.visible_ids import Granted, VisibleIds
from tests.gate.prefect.test_narrow import D, P, Q, match_of


def document(key: str, *inner: Json) -> Json:
    return {
        "id": key,
        "data": {"value": "clear"},
        "block_document_references": {str(n): {"block_document": part} for n, part in enumerate(inner)},
    }


@pytest.mark.parametrize(
    ("secrets", "answer", "clear"),
    [
        ({P}, document(P), True),
        ({P}, document(Q), False),
        ({P}, document(P, document(Q)), False),
        ({P, Q}, document(P, document(Q)), True),
        ({P, Q}, document(P, document(Q, document(D))), False),
        ({P}, {"id": P, "block_document_references": {"x": {}}}, False),
        ({P}, {"id": P, "block_document_references": []}, False),
        ({P}, {"id": P.upper()}, True),
        ({P}, {}, False),
        ({P}, None, False),
    ],
)  # fmt: skip
def test_a_secret_passes_only_if_all_that_is_in_the_answer_may_be_read(
    secrets: set[str], answer: Json, clear: bool
) -> None:
    shown = VisibleIds(Granted(all=False, blocks=frozenset({Q}), secrets=frozenset(secrets)))
    for path, query in (
        ("block_documents/{id}", "true"),
        ("block_types/slug/{slug}/block_documents/name/{block_document_name}", "whatever"),
    ):
        outcome = narrow(
            match_of(path, (("include_secrets", "false"), ("a", "b c"), ("include_secrets", query))), None, shown, {}
        )
        assert isinstance(outcome, Fold)
        assert [send.target.partition("?")[2] for send in outcome.sends] == [
            "a=b+c&include_secrets=false",
            "a=b+c&include_secrets=true",
        ]
        assert outcome.fold(["masked", answer]) == (answer if clear else "masked")
    listed = narrow(match_of("block_documents/filter"), {"include_secrets": 1}, shown, {})
    assert isinstance(listed, Fold)
    assert [send.body["include_secrets"] for send in listed.sends] == [False, True]
    assert {tuple(send.body["block_documents"]["id"]["any_"]) for send in listed.sends} == {
        tuple(sorted({*secrets, Q}))
    }
    masked = {"id": Q}
    assert listed.fold([[masked], [answer]]) == ([answer] if clear else [masked])
    assert listed.fold([[{"id": D}, masked], [None]]) == [masked]


@pytest.mark.parametrize("value", ["false", "False", "0", "no", "off", "f", "n"])
def test_who_asks_for_no_secrets_asks_once(value: str) -> None:
    shown = VisibleIds(Granted(all=False, secrets=frozenset({P})))
    outcome = narrow(match_of("block_documents/{id}", (("include_secrets", value),)), None, shown, {})
    assert outcome == Send("GET", "/api/block_documents/{id}?include_secrets=false")
    listed: Any = narrow(match_of("block_documents/filter"), {"include_secrets": value}, shown, {})
    (send,) = listed.sends
    assert send.body["include_secrets"] is False
