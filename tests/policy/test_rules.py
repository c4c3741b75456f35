"""The rules, by tables: what applies, which value wins, who owns and sees what. Pure: no database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.catalog.levels import LEVELS_OF
from grants.policy import rules
from grants.policy.language import parse_policy, with_people
from grants.policy.rulings import Allowed, Denied, Facts, Owner, Person
from tests.policy.scene import (
    ADA,
    BEN,
    BLOCK,
    CHIARA,
    ETL,
    EVERYBODY,
    GRACE,
    ML,
    OSCAR,
    POOL,
    SERVER,
    WORKER,
    policy,
    rule,
)


@pytest.mark.parametrize(
    ("match", "facts", "level", "applies"),
    [
        ("{}", ETL, "run", True),
        ("{connection: prefect-prod}", ETL, "run", True),
        ("{connection: prefect-*}", ML, "run", True),
        ("{connection: prefect-prod}", ML, "run", False),
        ("{connection: PREFECT-PROD}", ETL, "run", False),
        ("{environment: production}", ETL, "run", True),
        ("{environment: production}", ML, "run", False),
        ("{environment: [production, staging]}", ML, "run", True),
        ("{kind: deployment}", ETL, "run", True),
        ("{kind: deployment}", POOL, "run", False),
        ("{kind: [pool, deployment]}", POOL, "run", True),
        ("{name: 'etl/*'}", ETL, "run", True),
        ("{name: 'etl/*'}", POOL, "run", False),
        ("{name: 'etl*'}", POOL, "run", True),
        ("{name: 'ETL*'}", POOL, "run", False),
        ("{name: '*/prod'}", ETL, "run", True),
        ("{name: 'et?'}", POOL, "run", True),
        ("{name: ['x', 'etl']}", POOL, "run", True),
        ("{tag: pii}", ETL, "run", True),
        ("{tag: pii}", ML, "run", False),
        ("{tag: [sox, pii]}", ETL, "run", True),
        ("{owner: platform}", POOL, "run", True),
        ("{owner: platform}", ML, "run", False),
        ("{level: run}", ETL, "run", True),
        ("{level: run}", ETL, "view", False),
        ("{level: [run, view]}", ETL, "view", True),
        ("{environment: production, tag: pii}", ETL, "run", True),
        ("{environment: staging, tag: pii}", ETL, "run", False),
    ],
)
def test_match(match: str, facts: Facts, level: str, applies: bool) -> None:
    ruling = rules.rule_on(policy(rule(match=match)), facts, ADA, level)
    assert isinstance(ruling, Allowed if applies else Denied)
    if isinstance(ruling, Denied):
        assert ruling.code == "no_rule"
        assert facts.name in ruling.reason


@pytest.mark.parametrize(
    ("ask", "person", "may"),
    [
        ("anyone", OSCAR, True),
        ("[{team: ingest}]", ADA, True),
        ("[{team: ingest}]", OSCAR, False),
        ("[{team: sre}, {team: ingest}]", ADA, True),
        ("[{person: {idp: sso, username: grace}}]", GRACE, True),
        ("[{person: {idp: sso, username: grace}}]", ADA, False),
        ("[{person: {idp: sso, username: nobody-known}}]", OSCAR, False),
        ("[{person: {idp: other, username: grace}}]", GRACE, False),
    ],
)
def test_who_may_ask(ask: str, person: Person, may: bool) -> None:
    assert isinstance(rules.rule_on(policy(rule(ask=ask)), ETL, person, "run"), Allowed) is may


@pytest.mark.parametrize(
    ("facts", "level", "code"),
    [
        (ETL, "work", "level_kind"),
        (POOL, "work", "services_only"),
        (SERVER, "work", "services_only"),
        (ETL, "secret", "level_kind"),
        (ETL, "admin", "level_kind"),
        (POOL, "admin", "level_kind"),
        (BLOCK, "run", "level_kind"),
        (ETL, "nonsense", "level_unknown"),
        (ETL, "", "level_unknown"),
        (ETL, "VIEW", "level_unknown"),
        (ETL._replace(kind="unheard"), "view", "level_kind"),
    ],
)
def test_levels_that_are_never_peoples(facts: Facts, level: str, code: str) -> None:
    everything = rule(levels="[view, run, operate, manage, work, secret, admin]")
    ruling = rules.rule_on(policy(everything), facts, ADA, level)
    assert isinstance(ruling, Denied)
    assert ruling.code == code


@pytest.mark.parametrize(
    ("drains", "minutes", "by"),
    [
        ([""], 15, "r0"),
        ([", drain: 40m"], 40, "r0"),
        ([", drain: 40m", ", drain: 5m"], 5, "r1"),
        ([", drain: 40m", ""], 15, "r1"),  # who says nothing says 15 minutes, else a further rule could widen
        ([", drain: 0m", ", drain: 1d"], 0, "r0"),
    ],
)
def test_work_drains_for_machines_as_the_strictest_rule_says(drains: list[str], minutes: int, by: str) -> None:
    terms = policy(*(rule(f"r{n}", levels="[run, work]", more=more) for n, more in enumerate(drains)))
    ruling = rules.rule_on(terms, POOL, WORKER, "work")
    assert isinstance(ruling, Allowed)
    assert (ruling.drain, ruling.because["drain"]) == (timedelta(minutes=minutes), by)
    whole = rules.rule_on_all(terms, [(POOL, "run"), (POOL, "work"), (SERVER, "work")], WORKER)
    assert isinstance(whole, Allowed)
    assert (whole.drain, whole.because["drain"]) == (timedelta(minutes=minutes), by)
    run = rules.rule_on_all(terms, [(POOL, "run")], WORKER)
    assert isinstance(run, Allowed)
    assert run.drain is None


@pytest.mark.parametrize(
    ("ask", "may"),
    [("anyone", True), ("[{team: ingest}]", True), ("[{team: platform}]", False),
     ("[{person: {idp: sso, username: ada}}]", False)],
)  # fmt: skip
def test_a_machine_is_of_its_team_and_nobody_by_name(ask: str, may: bool) -> None:
    ruling = rules.rule_on(policy(rule(ask=ask, levels="[work]")), POOL, WORKER, "work")
    assert isinstance(ruling, Allowed) == may


def test_no_rule_no_access() -> None:
    assert isinstance(rules.rule_on(policy(), ETL, ADA, "view"), Denied)
    assert isinstance(rules.rule_on_all(policy(rule()), [], ADA), Denied)


def test_the_strictest_value_of_each_field_wins_and_is_named() -> None:
    both = policy(
        rule("wide", default="2h", longest="8h", more=", reason: {min: 5}"),
        rule("short", match="{tag: pii}", default="3h", longest="4h"),
        rule(
            "chatty",
            match="{environment: production}",
            default="1h",
            longest="1d",
            more=", reason: {min: 40}",
        ),
    )
    ruling = rules.rule_on(both, ETL, ADA, "run")
    assert isinstance(ruling, Allowed)
    assert (ruling.longest, ruling.default, ruling.reason_min) == (timedelta(hours=4), timedelta(hours=1), 40)
    assert (ruling.because["longest"], ruling.because["default"], ruling.because["reason"]) == (
        "short",
        "chatty",
        "chatty",
    )
    assert len(ruling.stages) == 1
    assert ruling.stages[0].rules == ("wide", "short", "chatty")


def test_the_default_is_never_longer_than_the_longest() -> None:
    ruling = rules.rule_on(policy(rule("a", default="6h"), rule("b", default="1h", longest="2h")), ETL, ADA, "run")
    assert isinstance(ruling, Allowed)
    assert ruling.default <= ruling.longest


def test_levels_are_what_all_allow() -> None:
    ruling = rules.rule_on(policy(rule("wide"), rule("narrow", match="{tag: pii}", levels="[view]")), ETL, ADA, "run")
    assert isinstance(ruling, Denied)
    assert "narrow" in ruling.reason
    assert "view" in ruling.reason


def test_who_may_ask_is_who_every_rule_lets() -> None:
    """A narrow rule beside a wide one: outsiders must not get by the wide one what the narrow one keeps."""
    both = policy(rule("all", stages="[]"), rule("oncall", match="{tag: pii}", ask="[{team: oncall}]", longest="1h"))
    ada, ben = (rules.rule_on(both, ETL, who, "run") for who in (ADA, BEN))
    assert isinstance(ada, Denied)
    assert (ada.code, "oncall" in ada.reason) == ("ask", True)
    assert isinstance(ben, Allowed)
    assert ben.longest == timedelta(hours=1)
    assert isinstance(rules.rule_on(both, ML, ADA, "run"), Allowed)


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("kind", ["server", "pool", "deployment", "block"])
def test_the_demos_policy_gives_nothing_but_a_look_without_asking(who: Person, kind: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "portal/demo/policy.yaml").read_text()
    demo = with_people(parse_policy(text), {})
    for level in LEVELS_OF[kind]:
        ruling = rules.rule_on(demo, POOL._replace(connection="prefect-demo", kind=kind), who, level.word)
        if level.word != "view" and isinstance(ruling, Allowed):
            assert ruling.stages, (kind, level.word)
    if kind == "block" and "platform" not in who.teams:
        assert not rules.may_see(demo, BLOCK, who)


def test_one_item_denied_denies_the_request() -> None:
    ruling = rules.rule_on_all(policy(rule(match="{kind: pool}")), [(POOL, "run"), (ETL, "run")], ADA)
    assert isinstance(ruling, Denied)
    assert "etl/prod" in ruling.reason


OWNERS = (
    "owners: [{match: {name: 'etl/*'}, team: platform}, {match: {name: '*'}, person: {idp: sso, username: grace}}]\n"
)


@pytest.mark.parametrize(
    ("head", "facts", "owner"),
    [
        ("", POOL, Owner(team="platform")),
        ("", ETL, Owner()),
        (OWNERS, ETL, Owner(team="platform")),
        (OWNERS, POOL, Owner(person="sso:id-grace")),
        ("", ETL._replace(connection_owner="x"), Owner(team="x")),
        ("owner_tags: false\n", ETL, Owner()),
        ("owner_tags: true\n", ETL, Owner(team="sre")),
        ("owner_tags: true\n", ETL._replace(connection_owner="x"), Owner(team="sre")),
        ("owner_tags: true\n", ETL._replace(tags=frozenset({"owner:a", "owner:b"})), Owner()),
        (f"owner_tags: true\n{OWNERS}", ETL, Owner(team="platform")),
    ],
)
def test_owner(head: str, facts: Facts, owner: Owner) -> None:
    assert rules.owner_of(policy(head=head), facts) == owner


@pytest.mark.parametrize(("person", "sees"), [(ADA, False), (CHIARA, True), (GRACE, True), (OSCAR, False)])
def test_what_is_not_discoverable(person: Person, sees: bool) -> None:
    hidden = policy(rule(match="{kind: block}", ask="[{team: sre}]", levels="[secret]", more=", discoverable: false"))
    assert rules.may_see(hidden, BLOCK, person) is sees
    assert rules.may_see(hidden, ETL, person)


def test_a_rule_that_cannot_be_judged_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(rules, "_matches", broken)
    ruling = rules.rule_on(policy(rule("broken")), ETL, ADA, "run")
    assert isinstance(ruling, Denied)
    assert (ruling.code, "broken" in ruling.reason) == ("rule_failed", True)


some_rules = st.builds(
    rule,
    name=st.integers(0, 10**6).map(lambda n: f"r{n}"),
    match=st.sampled_from(
        [
            "{}",
            "{kind: deployment}",
            "{tag: pii}",
            "{name: 'etl*'}",
            "{environment: staging}",
            "{owner: platform}",
        ]
    ),
    ask=st.sampled_from(["anyone", "[{team: ingest}]", "[{team: sre}]"]),
    levels=st.sampled_from(["[view]", "[run]", "[view, run]", "[view, run, operate, manage]", "[run, work]"]),
    longest=st.sampled_from(["30m", "2h", "8h", "2d"]),
    stages=st.sampled_from(["[]", "[{need: 1, from: [owners]}]", "[{need: 2, from: [{team: sre}]}]"]),
    more=st.sampled_from(["", ", drain: 0m", ", drain: 5m", ", drain: 1d"]),
)


@given(
    st.lists(some_rules, min_size=1, max_size=4, unique_by=lambda text: text.split(",")[0]),
    some_rules,
    st.sampled_from([ETL, POOL, ML]),
    st.sampled_from([*EVERYBODY, WORKER]),
    st.sampled_from(["view", "run", "manage", "work"]),
)
def test_a_further_rule_that_applies_never_widens(
    texts: list[str], more: str, facts: Facts, who: Person, level: str
) -> None:
    more = more.replace("name: r", "name: x", 1)
    before = rules.rule_on(policy(*texts), facts, who, level)
    after = rules.rule_on(policy(*texts, more), facts, who, level)
    if isinstance(before, Denied) and before.code == "level":
        assert isinstance(after, Denied)
    if isinstance(before, Allowed) and isinstance(after, Allowed):
        assert after.longest <= before.longest
        assert after.reason_min >= before.reason_min
        assert before.drain is after.drain is None or after.drain <= before.drain
        assert {(s.need, s.sources) for s in before.stages} <= {(s.need, s.sources) for s in after.stages}
