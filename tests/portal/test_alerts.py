"""deploy/alerts.yml names metrics and labels that /metrics of the portal and of the gate really have, and fires."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from accounts.models import IdP
from grants import clock
from grants.audit import Verb, export, record
from grants.catalog.models import Connection
from grants.due import DueJob, ProcessBeat
from grants.lifecycle.models import RoleBinding
from grants.policy import versions
from grants.policy.yaml_marks import PolicyErrors
from grants.web.status.measures import exposition
from tests.cast import Cast
from tests.gate.doors.test_process import ANYBODYS, granted, served
from tests.real.prefect import free_port, missing
from tests.waiting import until

RULES = Path(__file__).resolve().parents[2] / "deploy/alerts.yml"
SELECTOR = re.compile(r"\b(up|stint_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')
OF_THE_SCRAPE = {"job", "instance"}  # labels that Prometheus adds
COUNTED = {"stint_gate_lost_total": ("what",)}  # labels of what a gate that is well never counts
LOW = {"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1"}  # seconds of lag that wake nobody

type Series = Iterable[tuple[Sample, str]]  # what was scraped, and its values from one minute to the next


def rules(group: str) -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    (found,) = (one["rules"] for one in groups if one["name"] == group)
    return {rule["alert"]: rule for rule in found}


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def names_nothing_else(group: str, text: str) -> None:
    """Each selector of the group finds something in this exposition, and each label that is told is there."""
    scraped = samples(text)
    told = {family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(text)}
    for name, rule in rules(group).items():
        labels = set(OF_THE_SCRAPE)
        for metric, matchers in SELECTOR.findall(rule["expr"]):
            wanted = MATCHER.findall(matchers)
            if metric == "up":  # Prometheus makes it
                assert wanted == [("job", "=", group)], name
                continue
            assert metric in told | {one.name for one in scraped}, f"{name}: {metric} is told by nobody"
            found = [one for one in scraped if one.name == metric]
            assert not wanted or any(_fits(one, wanted) for one in found), f"{name}: no {metric}{{{matchers}}}"
            labels |= {label for one in found for label in one.labels}
            if not found:  # a counter that counted nothing yet
                labels |= set(COUNTED[metric])
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= labels, f"{name}: {used - labels}"


def _fits(sample: Sample, wanted: list[tuple[str, str, str]]) -> bool:
    return all(re.fullmatch(value if how == "=~" else re.escape(value), sample.labels.get(label, "")) for label, how, value in wanted)  # fmt: skip


def fires(folder: Path, job: str, series: Series) -> set[str]:
    """The names of the alerts that fire in the 20th minute, by Prometheus's own evaluation."""
    promtool = shutil.which("promtool") or missing("promtool (Debian: prometheus)")
    lines = [{"series": f'up{{job="{job}", instance="one"}}', "values": "1x30"}]
    for sample, values in series:
        labels = {**sample.labels, "job": job, "instance": "one"}
        text = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        lines.append({"series": f"{sample.name}{{{text}}}", "values": values})
    told = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "20m", "exp_samples": []}
    test = {"interval": "1m", "input_series": lines, "promql_expr_test": [told]}
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([str(promtool), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "SUCCESS" in said or "got:" in said, said
    return set(re.findall(r'alertname="(\w+)"', said.partition("got:")[2]))


def as_they_are(scraped: Iterable[Sample]) -> Series:
    return [(one, f"{one.value}x30") for one in scraped]


@pytest.fixture
def healthy(cast: Cast) -> Cast:
    for name in ("worker here:1", "gate here"):
        ProcessBeat.objects.create(name=name, at=clock.now(), version="0.1.0")
    IdP.objects.update(seen_at=clock.now())
    DueJob.objects.update(due_at=clock.now())
    if not settings.ENV.audit_key_file.exists():
        call_command("audit_key")
    export.export_head()
    return cast


def broken(cast: Cast, at: Callable[[timedelta], object]) -> str:
    """The portal's /metrics when everything that the docs alarm on is the case."""
    RoleBinding.objects.create(idp=cast.idp, external_id="id-ada", role="stint/x", due_at=clock.now())
    Connection.objects.update(held=3, server_version="99.0.0", error="Prefect did not answer in time.")
    new = Connection.objects.create(slug="new", kind="prefect", url="http://127.0.0.1:1/api", environment="test")
    record(Verb.CONNECTION_APPLIED, by="test", on=[new])
    with pytest.raises(PolicyErrors):
        versions.apply("version: 1\nrules: nonsense\n", by=None)
    at(timedelta(minutes=11))
    key = settings.ENV.audit_key_file.read_bytes()
    settings.ENV.audit_key_file.write_text("no key")
    try:
        return exposition(clock.now()).decode()
    finally:
        settings.ENV.audit_key_file.write_bytes(key)


def test_the_portals_rules_name_what_it_tells(healthy: Cast, at: Callable[..., object]) -> None:
    names_nothing_else("stint", exposition(clock.now()).decode())
    names_nothing_else("stint", broken(healthy, at) + "stint_head_age_seconds 1\n")


def test_nothing_fires_while_all_is_well(healthy: Cast, tmp_path: Path) -> None:
    assert not fires(tmp_path, "stint", as_they_are(samples(exposition(clock.now()).decode()))) - set(
        rules("stint-gate")
    )


def test_each_of_the_portals_fires(healthy: Cast, at: Callable[..., object], tmp_path: Path) -> None:
    fired = fires(tmp_path, "stint", as_they_are(samples(broken(healthy, at))))
    assert set(rules("stint")) - fired == {"StintAway"}


def test_the_portals_absence_fires(db: None, tmp_path: Path) -> None:
    assert "StintAway" in fires(tmp_path, "stint-gate", ())


@pytest.mark.usefixtures("commits")
def test_the_gates_rules_name_what_it_tells_and_fire(cast: Cast, tmp_path: Path) -> None:
    """A gate whose Prefect is away; what else may happen to it is the values that it told, changed."""
    nobody = SimpleNamespace(port=free_port())
    with served(cast, nobody, tmp_path) as gate:  # type: ignore[arg-type]
        _, issued = granted(cast)
        until(lambda: gate.status(ANYBODYS, issued.token) >= 502, gate.tail)
        text = httpx.get(
            f"http://127.0.0.1:{gate.admin}/metrics", headers={"Authorization": "Bearer for-metrics"}, timeout=10
        ).text
    names_nothing_else("stint-gate", text)
    scraped = samples(text)
    first = [(one, f"{one.value}x30") for one in scraped if "snapshot_age" not in one.name]
    portals = set(rules("stint"))
    assert not fires(tmp_path, "stint-gate", first) - portals
    worse = {
        "stint_gate_snapshot_age_seconds": "3x30",
        "stint_gate_record_behind": "1x30",
        "stint_gate_decisions_total": "1+5x30",
        "stint_gate_loop_lag_seconds_bucket": "0+1x30",
    }
    changed = [(one, worse.get(one.name, f"{one.value}x30")) for one in scraped]
    changed = [(one, "0x30") if one.labels.get("le") in LOW else (one, values) for one, values in changed]
    lost = Sample("stint_gate_lost_total", {"what": "counts"}, 1.0)
    fired = fires(tmp_path, "stint-gate", [*changed, (lost, "_x14 1x15")])
    assert set(rules("stint-gate")) - fired == {"StintGateAway"}
