"""Plan, apply, and what stays in force when a file is broken."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from grants.audit.models import AuditEvent
from grants.policy import versions
from grants.policy.models import PolicyRefusal, PolicyVersion
from grants.policy.yaml_marks import PolicyErrors
from tests.cast import POLICY, Cast

NAMED = POLICY.replace("  - {team: sre}", "  - {person: {idp: IDP, username: olga}}")


def test_plan_says_the_difference_in_words(cast: Cast) -> None:
    text = POLICY.replace("longest: 4h", "longest: 2h").replace("name: pools-two", "name: pools-both")
    lines = versions.plan(text).lines
    assert "rule pools-two: removed" in lines
    assert any(line.startswith("rule pools-both: added") for line in lines)
    assert versions.plan(POLICY.replace("longest: 8h", "longest: 4h")).lines == (
        "rule deployments-run: longest 8 h → 4 h",
    )
    cut = POLICY.replace("longest: 8h}", "longest: 8h}\n    drain: 0m")
    assert versions.plan(cut).lines == ("rule deployments-run: drain 15 min → none",)
    assert versions.plan(POLICY).lines == ()


def test_plan_names_people_and_tells_namesakes_apart(cast: Cast) -> None:
    text = NAMED.replace("IDP", cast.idp.slug)
    key = f"{cast.idp.slug}:id-olga"
    assert versions.plan(text).lines == (f"fallback: team sre → {cast.olga.name} ({key})",)


def test_the_same_again_is_no_new_version(cast: Cast) -> None:
    assert versions.apply(POLICY, by=None).pk == cast.policy.pk
    assert PolicyVersion.objects.count() == 1


def test_going_back_is_a_new_version(cast: Cast) -> None:
    versions.apply(POLICY.replace("longest: 8h", "longest: 4h"), by=cast.priya)
    back = versions.apply(POLICY, by=cast.priya)
    policy = versions.in_force()
    assert policy
    assert policy.number == back.pk > cast.policy.pk


def test_a_broken_file_changes_nothing_and_admins_see_why(cast: Cast) -> None:
    with pytest.raises(PolicyErrors):
        versions.apply("version: 1\nrules: [{}]", by=None)
    policy = versions.in_force()
    assert policy
    assert policy.number == cast.policy.pk
    refusal = versions.refusal_since(cast.policy)
    assert refusal
    assert refusal.errors[0]["line"] == 2
    assert AuditEvent.objects.latest("seq").verb == "policy.refused"
    versions.apply(POLICY, by=None)  # a good one, even the same
    assert versions.refusal_since(versions.in_force_row()) is None


def test_people_are_fixed_when_applied(cast: Cast) -> None:
    row = versions.apply(NAMED.replace("IDP", cast.idp.slug), by=None)
    assert row.people == {f"{cast.idp.slug}:olga": "id-olga"}
    policy = versions.in_force()
    assert policy
    assert policy.fallback[0].value == f"{cast.idp.slug}:id-olga"


@pytest.mark.parametrize(("idp", "name"), [("nowhere", "olga"), ("sso", "nobody")])
def test_who_is_not_known_is_said_with_line(cast: Cast, idp: str, name: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        versions.apply(NAMED.replace("IDP", idp).replace("olga", name), by=None)
    assert caught.value.problems[0][:2] == (6, 6)
    assert "not known" in str(caught.value)


def test_a_text_that_no_longer_reads_denies(cast: Cast) -> None:
    PolicyVersion.objects.create(sha256="", text="version: 0", people={}, applied_at=cast.policy.applied_at)
    assert versions.in_force() is None
    assert "1:1" in versions.in_force_problem()


def test_the_command(cast: Cast, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(POLICY.replace("longest: 8h", "longest: 4h"))
    bad.write_text("version: 1\nrules: 3\n")
    out = StringIO()
    call_command("policy", "plan", str(good), stdout=out)
    assert "longest 8 h → 4 h" in out.getvalue()
    assert PolicyVersion.objects.count() == 1
    for verb in ("check", "plan", "apply"):
        with pytest.raises(CommandError, match=r"bad\.yaml:2:1: .*\nNothing was changed"):
            call_command("policy", verb, str(bad))
    assert PolicyRefusal.objects.count() == 1  # apply's
    call_command("policy", "apply", str(good), stdout=out)
    call_command("policy", "apply", str(good), stdout=out)
    assert "in force already" in out.getvalue()
    assert PolicyVersion.objects.count() == 2
    shown = StringIO()
    call_command("policy", "show", stdout=shown)
    assert shown.getvalue().strip() == good.read_text().strip()
    with pytest.raises(CommandError):
        call_command("policy", "apply", str(tmp_path / "missing.yaml"))
