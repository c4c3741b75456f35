"""The columns beside a resource say what the rules say, whoever changed what, and never for longer than a commit."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Identity, Membership, Subject, Team
from grants import clock, due
from grants.adapters.orchestrators.base import RemoteResource
from grants.audit import Verb, record
from grants.catalog.changes import judged_anew
from grants.catalog.connections import apply_connections
from grants.catalog.levels import LEVELS_OF
from grants.catalog.models import Connection, Resource
from grants.catalog.specs import ConnectionSpec
from grants.catalog.sync import sync_connection
from grants.lifecycle import visibility
from grants.policy import ownership, reach, rules, versions
from grants.policy.language import Policy, parse_policy
from grants.policy.models import PolicyVersion, RuleSet
from grants.policy.people import PeopleAsked, person_of
from grants.policy.rulings import Allowed, Facts, Owner, Person
from grants.tasks import run
from tests.cast import POLICY, Cast
from tests.catalog.stub import Stub

TEAMS = ("ingest", "platform", "sre")
NAMES = ("etl", "etl/prod", "orders/prod", "e[tl", "x", "etl-2/adhoc")
GLOBS = ("*", "etl*", "et?", "*/prod", "[eo]*", "e[tl", "orders/prod", "x")


def a_match(*, owner: bool) -> st.SearchStrategy[str]:
    keys = {
        "connection": st.sampled_from(["prefect-prod", "prefect-*", "lab"]),
        "environment": st.sampled_from(["production", "staging"]),
        "kind": st.sampled_from(["pool", "[deployment, block]"]),
        "name": st.lists(st.sampled_from(GLOBS), min_size=1, max_size=2).map(str),
        "tag": st.sampled_from(["pii", "[sox, pii]"]),
    } | ({"owner": st.sampled_from(TEAMS), "level": st.sampled_from(["view", "[run, work]"])} if owner else {})
    return st.lists(st.sampled_from(sorted(keys)), unique=True, max_size=3).flatmap(
        lambda chosen: st.tuples(*(keys[key] for key in chosen)).map(
            lambda values: "{" + ", ".join(f"{k}: {v}" for k, v in zip(chosen, values, strict=True)) + "}"
        )
    )


def a_policy() -> st.SearchStrategy[str]:
    team = st.sampled_from([f"{{team: {name}}}" for name in TEAMS])
    owner = st.tuples(a_match(owner=False), team).map(lambda pair: f"  - {{match: {pair[0]}, {pair[1][1:-1]}}}\n")
    rule = st.builds(
        lambda match, ask, levels, hidden: (
            f"match: {match}, ask: {ask}, levels: {levels}, duration: {{default: 30m, longest: 8h}},"
            f" stages: []{', discoverable: false' if hidden else ''}"
        ),
        a_match(owner=True),
        st.one_of(st.just("anyone"), team.map(lambda one: f"[{one}]")),
        st.sampled_from(["[view]", "[view, run]", "[view, run, operate, work]"]),
        st.booleans(),
    )
    return st.builds(
        lambda tags, owners, made: (
            f"version: 1\nowner_tags: {str(tags).lower()}\nowners:\n{''.join(owners)}rules:\n"
            + "".join(f"  - {{name: r{n}, {one}}}\n" for n, one in enumerate(made))
        ),
        st.booleans(),
        st.lists(owner, min_size=1, max_size=4),
        st.lists(rule, min_size=1, max_size=5),
    )


some_facts = st.builds(
    Facts,
    st.just(1),
    st.sampled_from(["prefect-prod", "lab"]),
    st.sampled_from(["production", "staging"]),
    st.sampled_from(["pool", "deployment", "block"]),
    st.sampled_from(NAMES),
    st.frozensets(st.sampled_from(["pii", "sox", "owner:sre"])),
    st.sampled_from(["", "platform"]),
)
ASKERS = [
    Person(1, "sso", "id-1", frozenset()),
    Person(2, "sso", "id-2", frozenset({"ingest"})),
    Person(3, "sso", "id-3", frozenset({"platform", "sre"})),
    Person(4, "", "S-4", frozenset({"ingest"}), service=True),
]


@given(a_policy(), some_facts)
def test_a_long_policy_is_searched_without_being_walked_and_says_the_same(text: str, facts: Facts) -> None:
    policy = parse_policy(text)
    first = next((line.owner for line in policy.owners if rules._reaches(line.match, facts, None)), None)
    tagged = "owner:sre" in facts.tags and policy.owner_tags
    owner = first or Owner(team="sre" if tagged else facts.connection_owner)
    assert rules.owner_of(policy, facts) == owner
    found = rules.reach_of(policy, facts)
    assert found.rules == tuple(rule.name for rule in policy.rules if rules._reaches(rule.match, facts, owner))
    assert found.hidden is any(not rule.discoverable for rule in policy.rules if rule.name in found.rules)
    for person in ASKERS:
        allowed = [
            isinstance(rules.rule_on(policy, facts, person, level.word), Allowed) for level in LEVELS_OF[facts.kind]
        ]
        assert rules.may_ask(policy, facts.kind, found.rules, person) is any(allowed)


def wrong(policy: Policy | None) -> list[str]:
    """The resources whose columns are not what the rules say, and for whom visibility is not."""
    found = []
    people = [one for one in map(person_of, Subject.objects.filter(kind="person")) if one]
    for one in Resource.objects.select_related("connection", "rules"):
        said = rules.reach_of(policy, ownership.facts_of(one))
        kept = (one.owner_team, one.owner_person, one.hidden, one.rules and tuple(one.rules.rules))
        if kept != (said.owner.team, said.owner.person, said.hidden, said.rules):
            found.append(f"{one.name}: {kept}, not {said}")
        for person in people:
            sees = Resource.objects.filter(reach.visible(policy, person), pk=one.pk).exists()
            if sees is not rules.may_see(policy, ownership.facts_of(one), person):
                found.append(f"{one.name} for {person.external_id}: {sees}")
            asks = Resource.objects.filter(reach.askable(policy, person), pk=one.pk).exists()
            levels = (level.word for level in LEVELS_OF[one.kind])
            rulings = (rules.rule_on(policy, ownership.facts_of(one), person, level) for level in levels)
            if asks is not any(isinstance(ruling, Allowed) for ruling in rulings):
                found.append(f"{one.name} asked by {person.external_id}: {asks}")
    return found


def in_force() -> Policy:
    policy = versions.in_force()
    assert policy
    return policy


@given(text=a_policy())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_columns_are_what_the_rules_say(cast: Cast, text: str) -> None:
    with transaction.atomic():
        versions.apply(text, by=None)
        assert wrong(in_force()) == []
        transaction.set_rollback(True)


HIDING = POLICY.replace("  - name: pools-view\n", "  - name: pools-view\n    discoverable: false\n")
HIDDEN = HIDING.replace("manage]}\n    ask: anyone", "manage]}\n    ask: [{team: ingest}]").replace(
    "level: view}\n    ask: anyone", "level: view}\n    ask: [{team: ingest}]"
)


def test_a_policy_is_judged_in_the_transaction_that_applies_it(cast: Cast) -> None:
    assert wrong(in_force()) == []
    versions.apply(HIDING.replace('name: "etl*"}, team: platform', 'name: "stray*"}, team: ingest'), by=None)
    assert wrong(in_force()) == []
    cast.pool.refresh_from_db()
    cast.orphan.refresh_from_db()
    assert (cast.pool.hidden, cast.pool.owner_team, cast.orphan.owner_team) == (True, "", "ingest")
    assert not RuleSet.objects.exclude(policy_version=versions.in_force_row()).exists()  # no rubbish stays
    with pytest.raises(RuntimeError), transaction.atomic():
        versions.apply(POLICY, by=None)
        raise RuntimeError
    assert wrong(in_force()) == []


def test_a_sync_judges_what_it_changed_and_what_nobody_has_judged(cast: Cast) -> None:
    versions.apply(POLICY.replace("owner_tags: false", "owner_tags: true"), by=None)
    found = [
        RemoteResource("pool", "p1", "etl", "", (), "server", "server"),
        RemoteResource("deployment", "d1", "renamed/prod", "", (), "pool", "p1"),
        RemoteResource("deployment", "d2", "stray/adhoc", "", ("owner:ingest",), "pool", "p1"),
        RemoteResource("deployment", "d3", "etl-new/prod", "", (), "pool", "p1"),
    ]
    Resource.objects.filter(pk=cast.pool.pk).update(rules=None, owner_team="", hidden=True)
    sync_connection(cast.connection, client=Stub(*found))
    assert wrong(in_force()) == []
    owners = dict(Resource.objects.values_list("remote_id", "owner_team"))
    assert owners == {"server": "", "p1": "platform", "d1": "", "d2": "ingest", "d3": "platform"}


def test_a_connection_that_changes_is_judged_anew(cast: Cast) -> None:
    spec = ConnectionSpec(
        slug="prefect-prod", kind="prefect", url="http://127.0.0.1:1/api", environment="lab", owner="sre"
    )
    apply_connections([spec], by="cli")
    assert wrong(in_force()) == []
    assert Resource.objects.get(pk=cast.orphan.pk).owner_team == "sre"


def test_what_nobody_has_judged_yet_is_hidden(cast: Cast) -> None:
    with transaction.atomic():
        new = Resource.objects.create(
            connection=cast.connection, kind="pool", remote_id="p9", name="etl-9", seen_at=clock.now()
        )
        record(Verb.CATALOG_SYNCED, by="test", on=[new])
    assert new not in visibility.visible_resources(cast.ada)
    assert visibility.resource_of(cast.ada, new.pk) is None
    assert new in visibility.visible_resources(cast.priya)
    assert visibility.resource_of(cast.priya, new.pk) == new


@pytest.mark.parametrize("text", [POLICY, HIDING, HIDDEN])
def test_one_resource_is_shown_to_whom_lists_show_it(cast: Cast, text: str) -> None:
    versions.apply(text, by=None)
    ids = list(Resource.objects.values_list("pk", flat=True))
    for person in Subject.objects.filter(kind=Subject.Kind.PERSON):
        listed = set(visibility.visible_resources(person).values_list("pk", flat=True))
        opened = {pk: one for pk in ids if (one := visibility.resource_of(person, pk))}
        assert opened.keys() == set(visibility.resources_of(person, ids)) == listed, person.name
        assert all(one.parent is None or one.parent.pk in listed for one in opened.values()), person.name
    assert (visibility.resource_of(cast.oscar, cast.pool.pk) is None) is (text == HIDDEN)


def test_a_policy_that_can_no_longer_be_read_leaves_what_was_hidden(cast: Cast) -> None:
    versions.apply(HIDING, by=None)
    PolicyVersion.objects.create(sha256="", text="version: 0", people={}, applied_at=cast.policy.applied_at)
    judged_anew.send(sender=None, connections=[cast.connection.pk], changed=None)
    assert not visibility.visible_resources(cast.oscar).filter(pk=cast.pool.pk).exists()
    assert list(ownership.owned_by(cast.chiara)) == []


def test_the_number_of_queries_does_not_grow_with_the_catalog(cast: Cast) -> None:
    def applied(text: str) -> int:
        with connection.execute_wrapper(count := _Counted()):
            versions.apply(text, by=None)
        return count.n

    before = applied(HIDING)
    made = [
        Resource(connection=cast.connection, kind="pool", remote_id=f"q{n}", name=f"etl{n}", seen_at=clock.now())
        for n in range(60)
    ]
    record(Verb.CATALOG_SYNCED, by="test", on=Resource.objects.bulk_create(made))
    assert applied(POLICY) == before
    assert wrong(in_force())[:1] == []


def test_who_owns_is_written_only_where_it_changes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, it makes PostgreSQL work the words of the search out anew: 30 s at 50,000, of the ten that there are."""
    monkeypatch.setattr(reach, "MOST", 2)
    written: dict[bool, int] = {True: 0, False: 0}

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        if sql.lstrip().startswith("UPDATE grants_resource"):
            written["owner" in sql] += context["cursor"].rowcount
        return done

    with connection.execute_wrapper(count):
        versions.apply(POLICY + "\n# the same, in another version\n", by=None)
    assert written == {True: 0, False: Resource.objects.count()}
    with connection.execute_wrapper(count):
        versions.apply(POLICY.replace('name: "etl*"}, team: platform', 'name: "stray*"}, team: ingest'), by=None)
    assert written[True] > 0
    assert wrong(in_force()) == []


@pytest.mark.parametrize("how", ["by the job", "by the same policy again"])
def test_what_was_here_before_the_columns_needs_no_sync(cast: Cast, how: str) -> None:
    """As the migration leaves them, at a connection that may never answer again."""
    Resource.objects.update(rules=None, owner_team="", owner_person="", hidden=True)
    assert wrong(in_force()) != []
    if how == "by the job":
        due.ensure("judge")
        run("judge")
        assert not due.is_known("judge"), "once is enough"
    else:
        versions.apply(POLICY, by=None)
        assert PolicyVersion.objects.count() == 1
    assert wrong(in_force()) == []


class _Counted:
    def __init__(self) -> None:
        self.n = 0

    def __call__(self, execute: object, *args: object) -> object:
        self.n += 1
        return execute(*args)  # type: ignore[operator]


@pytest.mark.usefixtures("commits")
def test_a_sync_waits_for_the_policy_that_is_being_applied(cast: Cast) -> None:
    """Else it would judge what it found by the version before, and nobody would look again."""
    found = [
        RemoteResource("pool", "p1", "etl", "", (), "server", "server"),
        RemoteResource("deployment", "d1", "etl/prod", "", (), "pool", "p1"),
        RemoteResource("deployment", "d2", "stray/adhoc", "", (), "pool", "p1"),
        RemoteResource("deployment", "d3", "stray/new", "", (), "pool", "p1"),
    ]

    def sync() -> None:
        try:
            sync_connection(cast.connection, client=Stub(*found))
        finally:
            connection.close()

    syncing = threading.Thread(target=sync)
    with transaction.atomic():
        versions.apply(POLICY.replace('name: "etl*"}, team: platform', 'name: "stray*"}, team: ingest'), by=None)
        syncing.start()
        syncing.join(1)
        assert syncing.is_alive()
    syncing.join(30)
    assert wrong(in_force()) == []
    assert Resource.objects.get(remote_id="d3").owner_team == "ingest"


@pytest.mark.usefixtures("commits")
def test_a_policy_waits_for_a_sync_that_is_under_way(cast: Cast) -> None:
    """Else what that one adds, judged by the version before, would not be seen."""

    def apply() -> None:
        try:
            versions.apply(HIDING, by=None)
        finally:
            connection.close()

    applying = threading.Thread(target=apply)
    with transaction.atomic():
        Connection.objects.select_for_update(no_key=True).get(pk=cast.connection.pk)
        applying.start()
        applying.join(1)
        assert applying.is_alive()
        late = Resource.objects.create(
            connection=cast.connection, kind="pool", remote_id="p9", name="etl-9", seen_at=clock.now()
        )
        judged_anew.send(sender=None, connections=[cast.connection.pk], changed=[late.pk])
        record(Verb.CATALOG_SYNCED, by="test", on=[late])
    applying.join(30)
    assert wrong(in_force()) == []


def test_people_of_a_source_are_read_alone(cast: Cast) -> None:
    """Those of a team or of a name who are active, and nobody besides."""
    second = Subject.objects.create(name="Two", email="")
    Identity.objects.create(subject=second, idp=cast.idp, external_id="id-two", username="two")
    Membership.objects.create(subject=second, team=Team.objects.get(slug="platform"), source="directory")
    Subject.objects.filter(pk=cast.tomasz.pk).update(active=False)
    record(Verb.SUBJECT_CHANGED, by="test", on=[second, cast.tomasz])
    asked = PeopleAsked()
    for owner, people in (
        (Owner(team="platform"), {cast.chiara, second}),
        (Owner(team="ingest"), {cast.ada, cast.ben}),
        (Owner(team="none"), set()),
        (Owner(person="sso:id-ada"), {cast.ada}),
    ):
        assert asked.owning(owner) == {person.pk for person in people}, owner
