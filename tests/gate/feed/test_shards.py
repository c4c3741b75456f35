"""What is large is never copied whole for a change, and who holds it sees one moment."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from grants.gate.feed.shards import Shards
from grants.gate.feed.tables import Tables, touched
from tests.gate.loop import run
from tests.gate.talk import opened as socket
from tests.gate.talk import talking, until

KEYS = st.integers(0, 3000)
CHANGES = st.lists(st.tuples(st.dictionaries(KEYS, st.integers()), st.lists(KEYS)), max_size=8)


@given(CHANGES)
def test_a_mapping_in_parts_is_a_mapping(changes: list[tuple[dict[int, int], list[int]]]) -> None:
    model: dict[int, int] = {}
    shards: Shards[int, int] = Shards()
    seen = []
    for put, drop in changes:
        seen.append((shards, dict(model)))
        shards = shards.changed(put, drop)
        for key in drop:
            model.pop(key, None)
        model |= put
        assert dict(shards) == model
        assert len(shards) == len(model)
        for key in [*put, *drop]:
            assert (key in shards, shards.get(key)) == (key in model, model.get(key))
    for before, was in seen:
        assert dict(before) == was, "what was shared does not change"
    assert dict(Shards[int, int]()) == {}


@given(st.dictionaries(KEYS, st.integers()))
def test_filled_in_place_then_shut(put: dict[int, int]) -> None:
    open_one: Shards[int, int] = Shards.opened()
    assert open_one.changed(put) is open_one
    shut = open_one.shut()
    assert dict(shut) == put
    assert dict(shut.changed({-1: 1})) == {**put, -1: 1}
    assert dict(shut) == put


def test_a_change_copies_what_it_touches() -> None:
    """Of 100,000 credentials, a thousandth."""
    digests = [number.to_bytes(32) for number in range(1, 20_001)]
    now = datetime.now(UTC)
    tables = Tables().changed(
        {
            "gate_connections": [(1, "one", "prefect", "http://one/api", "one.test", "test", "")],
            "gate_credentials": [(n, "token", digest, n % 50, 1, None, now, False) for n, digest in enumerate(digests)],
        },
        version=1,
    )
    after = tables.changed({"gate_credentials": [(7, "token", digests[7], 7, 1, None, now, True)]}, version=2)
    parts = zip(tables.credentials._parts, after.credentials._parts, strict=True)
    assert sum(before is not now for before, now in parts) == 1
    assert (tables.credentials[digests[7]].revoked, after.credentials[digests[7]].revoked) == (False, True)
    assert after.grants is tables.grants


def test_whose_access_a_change_touches() -> None:
    assert touched({"gate_subjects": [(3, False)], "gate_grants": [(1, 4, 9)], "gate_credentials": [(1, "token", b"", 5)]}) == {3, 4, 5}  # fmt: skip
    assert touched({"gate_resources": [(1, 1, "pool", "x", "x", False)]}) == frozenset()
    assert touched({"gate_connections": [(1,)]}) is None


def test_what_is_open_is_looked_at_for_its_own_changes_only() -> None:
    async def story() -> None:
        async with talking() as talk, socket(talk.door, "/v9/things/mine/talk", talk.token):
            await until(lambda: len(talk.there.heard) == 1)
            sockets, looked = talk.door.gateway.sockets, []
            look = sockets._judge
            sockets._judge = lambda held: (looked.append(held), look(held))[1]  # type: ignore[method-assign, func-returns-value]
            snapshot = talk.door.feed.fresh()
            sockets._changed(snapshot, frozenset({2, 3}))
            assert looked == []
            sockets._changed(snapshot, frozenset({1}))
            sockets._changed(snapshot, None)
            assert len(looked) == 2

    run(story())
