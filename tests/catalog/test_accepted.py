"""Whoever can make a pool or a deployment gains nothing by a name that looks like another's.

Faults that turn these red: clean() or strip() of a name in the adapter or in accepted.accept, a cut at NAME_MAX, children of
what is left out kept, no _SHORTENED in bindings.role_of.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import names
from grants.adapters.orchestrators.base import Listing, RemoteResource
from grants.catalog.accepted import NAME_MAX, accept
from grants.catalog.models import Resource
from grants.catalog.sync import SyncState, sync_connection
from grants.lifecycle.bindings import role_of
from grants.policy import ownership, rules, versions
from tests.cast import Cast
from tests.catalog.stub import Stub, deployment, pool

LOOK_ALIKES = [
    "etl ", " etl", "etl\u00a0", "\u2003etl", "etl\n", "etl\x00", "etl\u200b", "\u202eetl", "etl\ud800", "\uff45tl", "ETL",
    "e\u0442l", "etl\u00ad",
]  # fmt: skip
NAME = st.one_of(
    st.sampled_from(["etl", *LOOK_ALIKES]), st.text(max_size=8),
    st.text(min_size=NAME_MAX - 2, max_size=NAME_MAX + 2, alphabet="xy"),
)  # fmt: skip


@pytest.mark.parametrize("name", LOOK_ALIKES, ids=ascii)
def test_a_look_alike_is_another_resource_or_none(cast: Cast, name: str) -> None:
    """Neither its owners, nor its rules, nor its role at the provider are those of the one that it looks like."""
    real = RemoteResource("pool", cast.pool.remote_id, cast.pool.name, parent_kind="server", parent_remote_id="server")
    twin = pool(name)
    outcome = sync_connection(cast.connection, client=Stub(real, twin), accept_vanished=True)
    assert outcome.state is SyncState.SYNCED
    role = role_of(cast.pool, "run")
    for row in Resource.objects.filter(remote_id=twin.remote_id):
        assert row.name == name
        assert role_of(row, "run") != role
        policy = versions.in_force()
        assert policy
        assert not rules.owner_of(policy, ownership.facts_of(row)).team
    if names.odd(name):
        assert not Resource.objects.filter(remote_id=twin.remote_id).exists()
        assert "1 odd name left out" in outcome.sentence


def test_what_is_left_out_is_said_and_takes_what_is_below_with_it(cast: Cast) -> None:
    odd = pool("etl ")
    below = deployment("etl/prod", odd)
    kept = deployment("etl/x", pool("other"), tags=("owner:platform\u00a0", "prod", "y" * 201, ""))
    outcome = sync_connection(cast.connection, client=Stub(odd, below, kept), accept_vanished=True)
    said = (
        "1 odd name left out (blank at an end 1): 'etl '. "
        f"3 odd tags left out (empty 1, longer than 200 characters 1, unprintable 1): '', 'owner:platform\\xa0', '{'y' * 59}."
    )
    assert outcome.ok
    assert said in outcome.sentence
    assert not Resource.objects.filter(remote_id__in=[odd.remote_id, below.remote_id]).exists()
    assert Resource.objects.get(remote_id=kept.remote_id).tags == ["prod"]
    cast.connection.refresh_from_db()
    assert cast.connection.error.endswith(said)
    assert not cast.connection.unread
    sync_connection(cast.connection, client=Stub(kept))
    cast.connection.refresh_from_db()
    assert cast.connection.error.startswith(cast.connection.LEFT_OUT)  # the tags


def test_who_is_called_oddly_from_now_on_is_gone(cast: Cast) -> None:
    """A flow can be renamed. What it was called before is nobody's name then, and no access goes by it."""
    row = cast.deployment
    named = RemoteResource(
        "deployment", row.remote_id, f"{row.name}\u00a0", parent_kind="server", parent_remote_id="server"
    )
    sync_connection(cast.connection, client=Stub(named), accept_vanished=True)
    row.refresh_from_db()
    assert row.retired_at is not None


@given(st.lists(st.tuples(NAME, st.lists(NAME, max_size=3)), max_size=12))
def test_names_are_kept_as_they_came_or_left_out(listed: list[tuple[str, list[str]]]) -> None:
    found = tuple(RemoteResource("pool", str(n), name, tags=tuple(tags)) for n, (name, tags) in enumerate(listed))
    accepted = accept(Listing(found, complete=True))
    by_id = {one.remote_id: one for one in found}
    assert all(one.name == by_id[one.remote_id].name for one in accepted.resources)
    assert all(set(one.tags) <= set(by_id[one.remote_id].tags) for one in accepted.resources)
    assert len(accepted.resources) == sum(not names.odd(one.name, NAME_MAX) for one in found)
    assert bool(accepted.left_out) >= (len(accepted.resources) < len(found))
    assert accepted.left_out.isprintable()


def test_a_short_name_is_not_called_like_a_long_one(cast: Cast) -> None:
    """Roles of long names are shortened by a digest that anybody can work out."""
    long = Resource(connection=cast.connection, kind="pool", remote_id=str(uuid4()), name="p" * 290)
    role = role_of(long, "run")
    assert len(role) == 255
    short = Resource(connection=cast.connection, kind="pool", remote_id=str(uuid4()))
    short.name = role.removeprefix("prefect-prod:pool:").removesuffix(":run")
    assert f"{cast.connection.slug}:pool:{short.name}:run" == role
    assert role_of(short, "run") != role
