"""Who is asked to decide: the stages of a request, and the people that can fill them. Pure: no database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.policy import rules
from grants.policy.rulings import Allowed, Source, Stage
from tests.policy.scene import ADA, BLOCK, ETL, EVERYBODY, ML, POOL, SERVER, policy, rule

FACTS = {facts.id: facts for facts in (ETL, POOL, ML, BLOCK, SERVER)}


def stage(need: int = 1, *sources: Source, about: tuple[int, ...] = (11,), fallback: tuple[Source, ...] = ()) -> Stage:
    return Stage(need, sources or (Source("owners"),), about, ("r",), fallback)


def test_stages_of_all_apply_in_order_and_equal_ones_merge() -> None:
    several = policy(
        rule("a", stages="[{need: 1, from: [owners]}, {need: 1, from: [{team: sre}]}]"),
        rule("b", stages="[{need: 2, from: [owners]}]"),
        rule("c", stages="[{need: 1, from: [owners]}]"),
        rule("d", stages="[]"),
    )
    ruling = rules.rule_on(several, ETL, ADA, "run")
    assert isinstance(ruling, Allowed)
    assert [(stage.need, stage.sources[0].kind, stage.rules) for stage in ruling.stages] == [
        (1, "owners", ("a", "c")),
        (1, "team", ("a",)),
        (2, "owners", ("b",)),
    ]


def test_owners_of_one_thing_do_not_decide_anothers() -> None:
    both = rules.rule_on_all(policy(rule()), [(POOL, "run"), (ML, "run")], ADA)
    assert isinstance(both, Allowed)
    assert [stage.resources for stage in both.stages] == [(11,), (12,)]
    same = rules.rule_on_all(policy(rule()), [(POOL, "run"), (POOL._replace(id=20), "run")], ADA)
    assert isinstance(same, Allowed)
    assert [stage.resources for stage in same.stages] == [(11, 20)]


@pytest.mark.parametrize(
    ("given", "excluded", "people", "fallback"),
    [
        (stage(), set(), {3, 4}, False),
        (stage(), {3}, {4}, False),
        (stage(1, Source("team", "sre")), set(), {5}, False),
        (stage(1, Source("person", "sso:id-grace")), set(), {5}, False),
        (stage(1, Source("person", "")), set(), set(), False),
        (stage(1, Source("team", "")), set(), set(), False),
        (stage(1, Source("owners"), Source("team", "sre")), set(), {3, 4, 5}, False),
        (stage(about=(11, 12)), set(), set(), False),
        (stage(about=(99,)), set(), set(), False),
        (stage(about=(10,)), set(), set(), False),
        (stage(about=()), set(), set(), False),
        (stage(about=(10,), fallback=(Source("team", "sre"),)), set(), {5}, True),
        (stage(3, fallback=(Source("team", "sre"),)), set(), {3, 4, 5}, True),
        (stage(2, fallback=(Source("team", "sre"),)), set(), {3, 4}, False),
        (stage(2, fallback=(Source("team", "sre"),)), {4}, {3, 5}, True),
        (stage(fallback=(Source("team", "sre"),)), {3, 4, 5}, set(), False),
    ],
)
def test_candidates(given: Stage, excluded: set[int], people: set[int], fallback: bool) -> None:
    found = rules.candidates(policy(), given, FACTS, rules.People(EVERYBODY), frozenset(excluded))
    assert (set(found.people), found.fallback) == (people, fallback)
    assert len(found.people) == len(people)


@pytest.mark.parametrize(
    ("stages", "filled"),
    [
        ([], []),
        ([(1, {1})], [True]),
        ([(2, {1})], [False]),
        ([(1, {1}), (1, {1})], [True, False]),
        ([(1, {1, 2}), (1, {1})], [True, True]),  # 2 for the first, though 1 would do
        ([(1, {1, 2}), (2, {1, 2})], [True, False]),
        ([(1, {1, 2, 3}), (2, {1, 2})], [True, True]),
        ([(0, set()), (1, {1})], [True, True]),
    ],
)
def test_a_person_fills_one_place(stages: list[tuple[int, set[int]]], filled: list[bool]) -> None:
    assert rules.fillable(stages) == filled


def test_stages_survive_being_frozen() -> None:
    frozen = stage(2, Source("owners"), Source("team", "sre"), about=(1, 2), fallback=(Source("person", "a:b"),))
    assert Stage.from_json(frozen.to_json()) == frozen


@given(st.sets(st.sampled_from([person.id for person in EVERYBODY])), st.integers(1, 4))
def test_who_is_excluded_is_never_asked(excluded: set[int], need: int) -> None:
    wide = stage(
        need,
        Source("owners"),
        *(Source("team", t) for t in ("ingest", "sre", "platform")),
        fallback=(Source("team", "oncall"),),
    )
    found = rules.candidates(policy(), wide, FACTS, rules.People(EVERYBODY), frozenset(excluded))
    assert not excluded & set(found.people)
