"""The language is closed: nothing is converted, nothing is said twice, and editors are told the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import call_command

from grants.policy.connection_file import parse_connections
from grants.policy.differences import differences
from grants.policy.language import TERMS, Rule, parse_policy
from grants.policy.strict import Strict
from grants.policy.yaml_marks import PolicyErrors
from tests.cast import POLICY
from tests.policy.test_parse import CONNECTION

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = re.findall(r"```yaml\n(.*?)```", (DOCS / "policy.md").read_text(), re.DOTALL)[0]


def printed(command: str) -> str:
    out = StringIO()
    call_command(command, "schema", stdout=out)
    return out.getvalue()


WRONG = [
    ("owner_tags: false", "owner_tags: 0"),
    ("owner_tags: false", "owner_tags: null"),
    ("version: 1", "version: 1.5"),
    ("version: 1", "version: true"),
    ("version: 1", "version: '1'"),
    ("need: 1", "need: true"),
    ("need: 1", "need: '1'"),
    ("need: 1", "need: 11"),
    ("min: 10", "min: 0"),
    ("min: 10", "min: null"),
    ("longest: 8h", "longest: 8"),
    ("longest: 8h", "longest: null"),
    ("longest: 8h", "longest: ٨h"),
    ("longest: 8h", "longest: '8h\n'"),
    ("name: deployments-run", "name: 'deployments-run\n\n'"),
    ("name: deployments-run", "name: 2026-01-01"),
    ("kind: deployment", "kind: []"),
    ("kind: deployment", "kind: {deployment: 1}"),
    ("kind: deployment", "kind: !!set {deployment}"),
    ("kind: deployment", "name: ''"),
    ("kind: deployment", "tag: [[a]]"),
    ("kind: deployment", "tag: !!binary aGVsbG8="),
    ("levels: [view, run, operate]", "levels: []"),
    ("levels: [view, run, operate]", "levels: view"),
    ("levels: [view, run, operate]", "levels: {view: run}"),
    ("ask: anyone", "ask: []"),
    ("ask: anyone", "ask: [anyone]"),
    ("ask: anyone", "ask: [owners]"),
    ("ask: anyone", "ask: [{team: ''}]"),
    ("ask: anyone", "ask: [{team: null}]"),
    ("ask: anyone", "ask: [{person: null}]"),
    ("ask: anyone", "ask: [{person: {idp: 'a:b', username: x}}]"),
    ("ask: anyone", "ask: [{person: {idp: a}}]"),
    ("from: [owners]", "from: []"),
    ("from: [owners]", "from: owners"),
    ("from: [owners]", "from: [anyone]"),
    ("from: [owners]", "sources: [owners]"),
    ("  - {team: sre}", "  - {team: sre, person: null}"),
    ("  - {team: sre}", "  - owners"),
    (", team: platform}", "}"),
    (", team: platform}", ", owner: platform}"),
    ("rules:\n", "people: []\nnumber: 3\nrules:\n"),
]


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_nothing_is_converted_or_passed_over(old: str, new: str) -> None:
    """The schema that editors use refuses the same, where JSON can say it at all."""
    text = POLICY.replace(old, new, 1)
    assert text != POLICY
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text)
    assert all(problem.line > 1 or "version" in new for problem in caught.value.problems), caught.value
    value = yaml.safe_load(text)
    if json_can_say(value):
        assert not schema_takes("policy", value)


def json_can_say(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return "\\n" not in repr(value)  # Python's $, with which jsonschema reads a pattern, lets one stand at the end


def schema_takes(command: str, value: Any) -> bool:
    return jsonschema.Draft202012Validator(json.loads(printed(command))).is_valid(value)


@pytest.mark.parametrize(
    ("command", "text", "parse"),
    [
        ("policy", POLICY, parse_policy),
        ("policy", EXAMPLE, parse_policy),
        ("connections", CONNECTION, parse_connections),
    ],
    ids=["the cast's", "the docs'", "connections"],
)
def test_what_is_right_is_right_for_editors_too(command: str, text: str, parse: Callable[[str], object]) -> None:
    assert parse(text)
    assert schema_takes(command, yaml.safe_load(text))


def test_mistakes_of_one_entry_are_told_together() -> None:
    text = POLICY.replace("need: 1", "need: 0, extra: 1", 1).replace("min: 10", "mim: 10", 1)
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text)
    assert [str(problem) for problem in caught.value.problems] == [
        "14:10: `need`: Input should be greater than or equal to 1, not 0.",
        "14:19: `extra` is not known here; known are from, need.",
        "15:5: `min` is missing.",
        "15:14: `mim` is not known here; known are min.",
    ]


def keys(model: type[Strict]) -> set[str]:
    return {key for key in model.model_fields if key != "name"}


def test_every_key_of_a_rule_is_a_term() -> None:
    """Else a plan would say nothing when it changes, and several rules would not know whose counts."""
    read = {of for _, of in TERMS}
    assert {repr(of).split("'")[1].partition(".")[0] for of in read} == keys(Rule)
    changed = POLICY.replace("    reason: {min: 10}\n", "    reason: {min: 11}\n    drain: 5m\n", 1)
    said = list(differences(parse_policy(POLICY), parse_policy(changed)))
    assert said == [
        "rule deployments-run: reason 10 characters → 11 characters",
        "rule deployments-run: drain 15 min → 5 min",
    ]


def test_a_policy_never_changes() -> None:
    policy = parse_policy(POLICY)
    with pytest.raises(ValueError, match="frozen"):
        policy.rules[0].drain = timedelta(0)  # type: ignore[misc]
    assert policy != parse_policy(POLICY), "compared by identity: what is compiled of it is kept with it"
