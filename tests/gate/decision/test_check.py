"""The decision, against a reader that knows nothing of how it is made, and at the edges of every window."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grants.catalog.levels import WORDS, Key, Level
from grants.gate.decision.check import check
from grants.gate.decision.types import (
    ANY,
    Allow,
    Ask,
    Code,
    Drain,
    Drains,
    Grant,
    Known,
    Lookup,
    Match,
    Principal,
    Refusal,
    Route,
    Snapshot,
    Target,
)
from grants.gate.prefect.guards.drain import may_finish
from grants.gate.prefect.lookups.visible_ids import visible as visible_to
from tests.gate.worlds import HOUR, NOW, SERVER, grant, person, snapshot

POOL = Key("prefect", "pool", "p1")
DEPLOYMENT = Key("prefect", "deployment", "d1")
SIBLING = Key("prefect", "deployment", "d2")
BLOCK = Key("prefect", "block", "b1")
LINEAGE = (DEPLOYMENT, POOL, SERVER)
TICK = timedelta(microseconds=1)


def said(*grants: Grant, asks: tuple[Ask, ...] = (Ask(LINEAGE, Level.RUN),), now: datetime = NOW) -> object:
    return check(snapshot(grants), person(), asks, now)


@pytest.mark.parametrize("resource", [DEPLOYMENT, POOL, SERVER])
def test_a_grant_anywhere_on_the_lineage_passes(resource: Key) -> None:
    allowed = said(grant(3, resource, Level.OPERATE))
    assert isinstance(allowed, Allow)
    assert (allowed.grants, allowed.until) == ((3,), NOW + HOUR)


@pytest.mark.parametrize(
    "other",
    [SIBLING, Key("prefect", "pool", "p2"), Key("other", "deployment", "d1"), Key("other", "server", "server"), BLOCK],
)
def test_a_grant_elsewhere_does_not(other: Key) -> None:
    refusal = said(grant(3, other, Level.MANAGE))
    assert refusal == Refusal(403, Code.NO_GRANT, Ask(LINEAGE, Level.RUN))


@pytest.mark.parametrize("held", WORDS)
@pytest.mark.parametrize("asked", WORDS)
def test_levels(held: str, asked: str) -> None:
    contains = {
        "view": "view",
        "run": "view run",
        "operate": "view run operate",
        "manage": "view run operate manage",
        "work": "view run work",
        "secret": "secret",
        "admin": "view run operate manage admin",
    }
    result = said(grant(3, SERVER, Level.of(held)), asks=(Ask((SERVER,), Level.of(asked)),))
    assert isinstance(result, Allow) is (asked in contains[held].split())


@pytest.mark.parametrize(
    ("now", "passes"),
    [
        (NOW - HOUR - TICK, False),
        (NOW - HOUR, True),
        (NOW + HOUR - TICK, True),
        (NOW + HOUR, False),
        (NOW + 2 * HOUR, False),
    ],
)
def test_the_edges_of_the_window(now: datetime, passes: bool) -> None:
    result = said(grant(3, POOL, Level.RUN), now=now)
    assert isinstance(result, Allow) is passes
    if isinstance(result, Refusal):
        assert result.code is (Code.ENDED if now >= NOW + HOUR else Code.NO_GRANT)


def test_what_ends_first_ends_it_all() -> None:
    asks = (Ask(LINEAGE, Level.RUN), Ask((BLOCK,), Level.SECRET))
    short, long = NOW + HOUR / 4, NOW + 3 * HOUR
    result = said(
        grant(1, POOL, Level.RUN, until=NOW + HOUR),
        grant(2, DEPLOYMENT, Level.RUN, until=long),  # passes the same ask for longer
        grant(3, BLOCK, Level.SECRET, until=short),
        asks=asks,
    )
    assert isinstance(result, Allow)
    assert (result.grants, result.until) == ((2, 3), short)
    ends = check(snapshot([grant(2, POOL, Level.RUN, until=long)]), person(until=NOW + TICK), asks[:1], NOW)
    assert isinstance(ends, Allow)
    assert ends.until == NOW + TICK


def test_a_token_has_its_one_grant_and_a_session_all() -> None:
    held = snapshot([grant(1, POOL, Level.RUN), grant(2, BLOCK, Level.SECRET), grant(3, POOL, Level.MANAGE, subject=2)])
    asks = (Ask((BLOCK,), Level.SECRET),)
    assert isinstance(check(held, person(), asks, NOW), Allow)
    assert isinstance(check(held, person(grants=(2,)), asks, NOW), Allow)
    assert isinstance(check(held, person(grants=(1,)), asks, NOW), Refusal)
    manage = (Ask((POOL,), Level.MANAGE),)
    assert isinstance(check(held, person(grants=(3,)), manage, NOW), Refusal)  # another subject's grant
    assert isinstance(check(held, person(2, grants=(3,)), manage, NOW), Allow)


def test_nobody_who_is_switched_off_and_no_credential_that_is_over() -> None:
    held = snapshot([grant(1, POOL, Level.RUN)], subjects=[2])
    assert check(held, person(), (Ask(LINEAGE, Level.VIEW),), NOW) == Refusal(401, Code.INACTIVE)
    assert check(held, person(), (Ask((SERVER,), ANY),), NOW) == Refusal(401, Code.INACTIVE)
    live = snapshot([grant(1, POOL, Level.RUN)])
    assert check(live, person(until=NOW), (Ask(LINEAGE, Level.VIEW),), NOW) == Refusal(401, Code.EXPIRED)
    assert check(live, person(until=NOW), (Ask((SERVER,), ANY),), NOW) == Refusal(401, Code.EXPIRED)


def test_what_asks_nothing_gets_nothing() -> None:
    assert isinstance(said(grant(1, SERVER, Level.ADMIN), asks=()), Refusal)


def test_any_subject_sees_what_it_was_granted_here_and_until_that_changes() -> None:
    signed_in = (Ask((SERVER,), ANY),)
    assert isinstance(said(asks=signed_in), Allow)
    result = said(
        grant(1, POOL, Level.WORK),
        grant(2, DEPLOYMENT, Level.VIEW, until=NOW + HOUR / 2),
        grant(3, BLOCK, Level.SECRET),
        grant(4, Key("other", "server", "server"), Level.ADMIN, until=NOW + HOUR / 4),  # of another orchestrator
        grant(5, SIBLING, Level.VIEW, until=NOW),  # over
        grant(6, SIBLING, Level.VIEW, starts_at=NOW + TICK),  # to come
        grant(7, Key("prefect", "block", "b2"), Level.VIEW),
        asks=signed_in,
    )
    assert isinstance(result, Allow)
    assert (result.grants, result.until) == ((), NOW + HOUR / 2)
    visible = visible_to(result.shows)
    assert (visible.all, visible.pools, visible.deployments) == (False, {"p1"}, {"d1"})
    assert (visible.blocks, visible.secrets) == ({"b2"}, {"b1"})
    everything = said(grant(1, SERVER, Level.WORK), asks=signed_in)
    assert isinstance(everything, Allow)
    assert visible_to(everything.shows).all


ANYWHERE = {"": Ask((Key("prefect", "any", ""),), Level.RUN), "work": Ask((Key("prefect", "any", "work"),), Level.VIEW)}


@pytest.mark.parametrize(
    ("which", "held", "passes"),
    [
        ("", grant(1, SIBLING, Level.RUN), True),
        ("", grant(1, SIBLING, Level.VIEW), False),
        ("work", grant(1, POOL, Level.WORK), True),
        ("work", grant(1, SERVER, Level.ADMIN), False),
        ("work", grant(1, POOL, Level.MANAGE), False),
        ("work", grant(1, Key("other", "pool", "p1"), Level.WORK), False),
        ("work", grant(1, POOL, Level.WORK, until=NOW), False),
    ],
)
def test_anywhere_on_the_connection(which: str, held: Grant, passes: bool) -> None:
    assert isinstance(said(held, asks=(ANYWHERE[which],)), Allow) is passes


def test_what_is_missing_is_told_only_to_who_passes() -> None:
    ask = Ask((SERVER, Key("prefect", "any", "manage")), Level.VIEW, missing=True)
    assert said(grant(1, SIBLING, Level.MANAGE), asks=(ask,)) == Refusal(404, Code.NOT_FOUND, ask)
    assert said(grant(1, SIBLING, Level.OPERATE), asks=(ask,)) == Refusal(403, Code.NO_GRANT, ask)
    refused_first = said(grant(1, SIBLING, Level.MANAGE), asks=(ask, Ask((POOL,), Level.RUN)))
    assert refused_first == Refusal(403, Code.NO_GRANT, Ask((POOL,), Level.RUN))


# Drain.


def test_work_drains_and_nothing_else() -> None:
    ended = {"until": NOW, "drain": HOUR}
    asks = (Ask(LINEAGE, Level.WORK),)
    assert said(grant(1, POOL, Level.WORK, **ended), asks=asks) == Drain((1,), NOW, NOW + HOUR)
    assert said(grant(1, POOL, Level.WORK, **ended), asks=asks, now=NOW + HOUR - TICK) == Drain((1,), NOW, NOW + HOUR)
    over = said(grant(1, POOL, Level.WORK, **ended), asks=asks, now=NOW + HOUR)
    assert over == Refusal(403, Code.ENDED, asks[0])
    assert isinstance(said(grant(1, POOL, Level.MANAGE, **ended), asks=(Ask(LINEAGE, Level.RUN),)), Refusal)
    assert isinstance(said(grant(1, POOL, Level.WORK, until=NOW), asks=asks), Refusal)  # revoked: no drain
    assert isinstance(said(grant(1, POOL, Level.WORK, **ended), asks=(Ask(LINEAGE, Level.MANAGE),)), Refusal)


def test_one_ask_that_drains_makes_the_call_drain() -> None:
    live, ending = (
        grant(1, BLOCK, Level.SECRET, until=NOW + HOUR / 2),
        grant(2, POOL, Level.WORK, until=NOW, drain=HOUR),
    )
    asks = (Ask((BLOCK,), Level.SECRET), Ask((POOL,), Level.WORK))
    assert said(live, ending, asks=asks) == Drain((1, 2), NOW, NOW + HOUR / 2)
    renewed = grant(3, POOL, Level.WORK)
    assert isinstance(said(live, ending, renewed, asks=asks), Allow)


@pytest.mark.parametrize(
    ("drains", "runs", "passes"),
    [
        (Drains.RUN, {"a": -1}, True),
        (Drains.RUN, {"a": 0}, True),
        (Drains.RUN, {"a": 1}, False),
        (Drains.RUN, {"a": -1, "b": 1}, False),
        (Drains.RUN, {"a": None}, False),
        (Drains.RUN, {}, False),
        (Drains.ALWAYS, {}, True),
        (Drains.NOTHING, {"a": -1}, False),
        (Drains.EMPTY, {"a": -1}, False),
    ],
)
def test_only_runs_that_had_started_may_finish(drains: Drains, runs: dict[str, int | None], passes: bool) -> None:
    called = Match(Route("POST", "/api/logs/", Level.WORK, drains=drains), {}, Target("/", "/", (), "/"), "prefect")
    lookups = [Lookup("flow_run", run) for run in runs]
    found = {
        Lookup("flow_run", run): Known((POOL,), {} if at is None else {"started": (NOW + at * TICK).isoformat()})
        for run, at in runs.items()
    }
    drain = Drain((1,), NOW, NOW + HOUR)
    assert may_finish(called, lookups, found, drain) is passes
    if drains is Drains.RUN and passes:
        new = Lookup("task_run", "not written yet")
        assert may_finish(called, [*lookups, new], {**found, new: None}, drain)
        assert not may_finish(called, [new], {new: None}, drain)
        gone = Lookup("flow_run", "gone")
        assert not may_finish(called, [*lookups, gone], {**found, gone: None}, drain)


def test_a_run_of_a_deployment_is_a_new_one_in_the_drain() -> None:
    made = Route("POST", "/api/flow_runs/", Level.WORK, drains=Drains.RUN)
    called = Match(made, {}, Target("/", "/", (), "/"), "prefect")
    parent, deployment = Lookup("task_run", "begun"), Lookup("deployment", "d1")
    found = {parent: Known((POOL,), {"started": (NOW - TICK).isoformat()}), deployment: Known((POOL,), {})}
    drain = Drain((1,), NOW, NOW + HOUR)
    assert may_finish(called, [parent], found, drain)
    assert not may_finish(called, [parent, deployment], found, drain)


# A naive reader.

KEYS = [SERVER, POOL, DEPLOYMENT, SIBLING, BLOCK, Key("other", "pool", "p1"), Key("other", "server", "server")]
TIMES = [NOW + n * HOUR for n in range(-2, 3)]
LEVELS = [Level.of(word) for word in WORDS]
grants_of = st.builds(
    lambda pk, subject, resource, level, start, length, drain: Grant(
        pk, subject, resource, level, start, start + length * HOUR, start + (length + drain) * HOUR
    ),
    st.integers(1, 9),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(KEYS),
    st.sampled_from(LEVELS),
    st.sampled_from(TIMES),
    st.integers(0, 3),
    st.integers(0, 2),
)
asks_of = st.lists(
    st.builds(
        Ask,
        st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple),
        st.sampled_from(LEVELS),
        st.none(),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=3,
)
BITS = {
    "view": {1},
    "run": {1, 2},
    "operate": {1, 2, 3},
    "manage": {1, 2, 3, 4},
    "work": {1, 2, 5},
    "secret": {6},
    "admin": {1, 2, 3, 4, 7},
}


def naive(held: Snapshot, principal: Principal, asks: list[Ask], now: datetime) -> str:
    """What the design says, read aloud: no clever order, no early exit, sets of steps instead of flags."""
    if principal.subject not in held.subjects or now >= principal.until:
        return "who"
    ways = []
    for ask in asks:
        live, ending = False, False
        for one in held.grants.values():
            mine = one.subject == principal.subject and (principal.grants is None or one.id in principal.grants)
            enough = BITS[ask.need.word] <= BITS[one.level.word]
            if mine and enough and any(one.resource == key for key in ask.lineage):
                live = live or (now >= one.starts_at and now < one.until)
                ending = ending or (one.level.word == "work" and one.until <= now < one.drain_until)
        ways.append("live" if live else "drain" if ending else "no")
    if "no" in ways:
        return "no"
    if any(ask.missing for ask in asks):
        return "missing"
    return "drain" if "drain" in ways else "live"


@settings(max_examples=600)
@given(
    st.lists(grants_of, max_size=6, unique_by=lambda one: one.id),
    asks_of,
    st.sampled_from(TIMES),
    st.sampled_from([None, None, (1,), (2,), (1, 3), ()]),
    st.sampled_from([[1, 2], [1], [2]]),
    st.sampled_from(TIMES),
)
def test_the_decision_is_what_a_naive_reader_reads(
    grants: list[Grant],
    asks: list[Ask],
    now: datetime,
    only: tuple[int, ...] | None,
    subjects: list[int],
    until: datetime,
) -> None:
    held, principal = snapshot(grants, subjects=subjects), person(grants=only, until=until)
    result = check(held, principal, asks, now)
    wanted = naive(held, principal, asks, now)
    match result:
        case Allow():
            assert wanted == "live"
            assert now < result.until <= principal.until
            later = check(held, principal, asks, result.until)
            if isinstance(later, Allow):  # by others: what was used is over
                assert all(held.grants[pk].until > result.until for pk in later.grants)
        case Drain():
            assert wanted == "drain"
            assert result.ended <= now < result.until
        case Refusal():
            assert wanted == {401: "who", 403: "no", 404: "missing"}[result.status]
