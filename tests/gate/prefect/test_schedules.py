"""Schedules are judged before they are stored: none comes through that Prefect could not work out."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from grants.catalog.levels import Level
from grants.gate.decision.table import RouteTable
from grants.gate.decision.target import canonical
from grants.gate.decision.types import Ask, Json, Known, Refusal, Target, or_raise
from grants.gate.prefect.kind import PREFECT
from grants.gate.prefect.reading.days import Looks
from grants.gate.prefect.reading.finds import Malformed
from grants.gate.prefect.reading.schedules import ahead_judged, judge, schedules_need
from tests.real.prefect import missing

ID = "11111111-1111-4111-8111-111111111111"
NOW = date(2026, 11, 28)
WORKDAYS = "MO,TU,WE,TH,FR"
HOURS = "9,10,11,12,13,14,15,16,17"

FINE: tuple[dict[str, Any], ...] = (
    *({"cron": text} for text in (
        "0 0 * * *", "*/5 * * * *", "* * * * *", "0 6 * * 1-5", "0 0 29 2 *", "0 0 L * *", "0 0 * * 1#5", "0 0 * * L5",
        "0 9-17/2 * jan-mar mon,wed", "0 0 29 2 1", "@hourly", "@yearly", "0 0 ? * *", "0 0 * * fri-mon", "0 0 1 * * 30",
        "0 0 * * 7", "15 3 1,15,L * *",
    )),
    {"cron": "0 0 13 * 5", "day_or": False, "timezone": "Europe/Berlin"},
    {"cron": "0 0 29 2 1", "day_or": False},
    *({"rrule": text} for text in (
        "FREQ=DAILY", "FREQ=HOURLY", f"FREQ=MONTHLY;BYDAY={WORKDAYS};BYSETPOS=-1", "FREQ=MONTHLY;BYMONTHDAY=-1",
        "FREQ=MONTHLY;BYDAY=1FR", "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;UNTIL=20271224T000000;WKST=SU", "RRULE:FREQ=DAILY;COUNT=5",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO", "FREQ=YEARLY;BYDAY=20MO",
        f"DTSTART:20220910T110000\nRRULE:FREQ=HOURLY;BYDAY={WORKDAYS},SA;BYHOUR={HOURS}", "FREQ=YEARLY;BYYEARDAY=-1",
        "DTSTART:20261128T000000\nRRULE:FREQ=MINUTELY;INTERVAL=15;BYHOUR=9,10", "FREQ=DAILY;BYHOUR=9,15;BYMINUTE=0,30",
        "DTSTART:20260101T090000\nRRULE:FREQ=DAILY\nRDATE:20261224T090000\nEXDATE:20261225T090000,20261226T090000",
        "DTSTART;TZID=Europe/Berlin:20260101T090000\nRRULE:FREQ=WEEKLY;BYDAY=MO",
    )),
    {"interval": 60}, {"interval": 3600.0, "anchor_date": "2020-01-01T00:00:00.5+00:00", "timezone": "Asia/Tokyo"},
    {"interval": "PT15M"}, {"interval": "P1DT12H", "timezone": None}, {"interval": 86400, "anchor_date": "2020-01-01"},
)  # fmt: skip
OFTEN: tuple[dict[str, Any], ...] = (
    {"interval": 59},
    {"interval": "PT5S"},
    {"cron": "* * * * * *"},
    {"cron": "0 0 * * * */2"},
)
NEVER: tuple[dict[str, Any], ...] = (
    *({"cron": text} for text in (
        "0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 2 1", "0 0 30 2 0-6/2", "0 0 1 1 * 0 2020", "0 0 1 1 * 0 2099",
        "H/5 * * * *", "* * * *", "0 0 0 * *", "0 24 * * *", "0 0 * * 8", "@reboot", "1," * 300 + "1 * * * *", "",
    )),
    {"cron": "0 0 30 2 1", "day_or": False},
    {"cron": "0 0 30 * 1#1", "day_or": False},
    *({"rrule": text} for text in (
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYDAY=MO,2TU",
        "DTSTART:20210101T000000\nRRULE:FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", "FREQ=YEARLY;BYSETPOS=366;BYDAY=MO",
        "DTSTART:20200130T000000\nRRULE:FREQ=YEARLY;BYMONTH=2", "FREQ=HOURLY;INTERVAL=168;BYDAY=MO",
        "DTSTART:20200101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=5", "DTSTART:00010101T000000\nRRULE:FREQ=HOURLY",
        "FREQ=DAILY\nEXRULE:FREQ=DAILY", "RDATE:20261224T000000\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;FREQ=SECONDLY", "FREQ=DAILY;BYEASTER=1", "FREQ=DAILY;BYSECOND=0,1", "FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=0,30",
        "FREQ=HOURLY;INTERVAL=2;BYHOUR=1,3", "FREQ=DAILY;BYSETPOS=2", "\n".join(["RRULE:FREQ=DAILY"] * 6), "x" * 7_000, "",
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=3", "DTSTART:20200101\nDTSTART:20200102\nRRULE:FREQ=DAILY", "FREQ=DAILY;BYMONTH=٢",
        "DTSTART:20211001T000000\nRRULE:FREQ=MONTHLY;INTERVAL=2;BYMONTH=11;BYMONTHDAY=28",
    )),
    {"rrule": "FREQ=DAILY", "timezone": None}, {"rrule": "FREQ=DAILY", "timezone": "../../etc/passwd"}, {"rrule": 5},
    {"interval": 0}, {"interval": -1}, {"interval": 0.5}, {"interval": 1e300}, {"interval": True}, {"interval": "P1M"},
    {"interval": "PT"}, {"interval": None}, {"interval": 60, "anchor_date": "0001-01-01T00:00:00Z"},
    {"interval": 60, "anchor_date": 5}, {"interval": 60, "cron": "* * * * *"}, {"interval": 60, "x": 1}, {},
    {"rrule": "FREQ=WEEKLY;INTERVAL=9999;BYMONTHDAY=31;BYMONTH=2"}, {"rrule": "FREQ=DAILY;INTERVAL=9999;BYMONTHDAY=31;BYMONTH=2"},
    {"interval": -(10**400)}, {"interval": 10**400},
    {"interval": 60, "anchor_date": "2026-02-30"}, {"cron": "* * * * *", "day_or": 1.5},
)  # fmt: skip


def verdict(schedule: Any) -> bool | None:
    """Whether it may come often; None for one that is refused."""
    try:
        return judge(schedule, Looks(NOW))
    except Malformed:
        return None


def _name(schedule: object) -> str:
    return str(schedule)[:60].replace("\n", " ")


@pytest.mark.parametrize("schedule", FINE, ids=_name)
def test_what_comes_is_fine(schedule: dict[str, Any]) -> None:
    assert verdict(schedule) is False


@pytest.mark.parametrize("schedule", OFTEN, ids=_name)
def test_what_comes_more_than_once_a_minute_is_for_who_manages(schedule: dict[str, Any]) -> None:
    assert verdict(schedule) is True
    assert schedules_need([{"schedule": schedule}], NOW) == Level.MANAGE
    assert schedules_need([{"schedule": {"interval": 60}}], NOW) == Level.OPERATE


@pytest.mark.parametrize("schedule", NEVER, ids=_name)
def test_what_never_comes_or_cannot_be_told_is_refused(schedule: dict[str, Any]) -> None:
    assert verdict(schedule) is None


def test_one_call_has_so_many_looks_in_all() -> None:
    """Each of them alone is fine."""
    rare = {"schedule": {"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29"}}
    assert schedules_need([rare], NOW) == Level.OPERATE
    with pytest.raises(Malformed):
        schedules_need([rare] * 9, NOW)
    with pytest.raises(Malformed):
        schedules_need([{"schedule": {"interval": 60}}] * 26, NOW)


def test_one_call_has_so_many_steps_in_all() -> None:
    """Prefect walks through the steps of every rule at each look: 125 of these are a minute and a half."""
    start = "DTSTART:20200101T000000\n"
    busy = "RRULE:FREQ=MINUTELY;INTERVAL=48"
    assert schedules_need([{"schedule": {"rrule": start + busy}}], NOW) == Level.OPERATE
    for many in ([start + busy] * 25, ["\n".join([start.strip(), *[busy] * 5])]):
        with pytest.raises(Malformed, match="too many steps"):
            schedules_need([{"schedule": {"rrule": rule}} for rule in many], NOW)
    assert schedules_need([{"schedule": {"rrule": "FREQ=DAILY"}}] * 25, NOW) == Level.OPERATE


def test_what_the_deployment_has_counts() -> None:
    """One call each would bring as much as no call may."""
    busy = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=48"}
    assert schedules_need([{"schedule": busy}], NOW, [{"cron": "0 0 * * *"}, {"cron": "no"}]) == Level.OPERATE
    with pytest.raises(Malformed, match="too many steps"):
        schedules_need([{"schedule": busy}], NOW, [busy])
    with pytest.raises(Malformed, match="25 schedules at most"):
        schedules_need([{"schedule": {"interval": 60}}], NOW, [{"interval": 60}] * 25)
    assert schedules_need([{"active": False}], NOW, [busy] * 30) == Level.OPERATE, "what is too much can be paused"


def updated(schedules: Json, *stored: tuple[str | None, Json]) -> tuple[Ask, ...] | Refusal:
    """What an update of a deployment that has `stored` asks for."""
    target = canonical(f"/api/deployments/{ID}".encode())
    assert isinstance(target, Target)
    matched, body = or_raise(RouteTable(PREFECT.routes, "p").match("PATCH", target)), {"schedules": schedules}
    rows = tuple({"id": str(n), "slug": slug, "schedule": one} for n, (slug, one) in enumerate(stored))
    told = {"id": ID, "limit_name": None, "limit_id": None, "work_pool_name": None, "rows": rows}
    wanted = or_raise(PREFECT.needs(matched, body))
    return PREFECT.asks(matched, body, {lookup: Known((), told) for lookup in wanted})


def test_an_update_is_judged_with_what_it_leaves() -> None:
    """Fault: what it adds by slugs is judged as if it took the place of all that is there."""
    hourly, busy = {"interval": 3600}, {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=48"}
    new, full = {"slug": "new", "schedule": hourly}, [(f"s{n}", hourly) for n in range(25)]
    for sent, stored in (
        ([new], full),
        ([new, *({"slug": slug, "active": True} for slug, _ in full[1:])], full),
        ([{**new, "replaces": "gone"}], full),
        ([{**new, "slug": "s1", "replaces": "gone"}], full),
        ([{"slug": "new", "schedule": busy}], [("old", busy)]),
        ([{"slug": "new", "schedule": busy}, {"slug": "old", "active": True}], [("old", busy)]),
        ([{"slug": "new", "schedule": busy}], [("old", busy), (None, hourly)]),
    ):
        refused = updated(sent, *stored)
        assert isinstance(refused, Refusal), sent
        assert refused.status == 400
    for sent, stored in (
        ([{"slug": slug, "schedule": hourly} for slug, _ in full], full),
        ([{**new, "replaces": "s1"}], full),
        ([{"slug": "old", "schedule": busy}], [("old", busy)]),
        ([{"slug": "old", "active": True}], [("old", busy)] * 30),
        ([{"schedule": hourly}] * 25, full),
        ([{"slug": {}, "schedule": hourly}], []),
        ([], full),
        (None, full),
    ):
        assert [ask.need for ask in or_raise(updated(sent, *stored))] == [Level.OPERATE], sent


@pytest.mark.parametrize(
    "body",
    [
        {"max_runs": 10**9}, {"min_runs": 101}, {"max_runs": True}, {"max_runs": -1}, {"min_time": 1e12}, {"x": 1},
        {"start_time": "9000-01-01T00:00:00Z"}, {"start_time": "2028-01-01T00:00:00Z"}, {"start_time": 1}, [],
        {"end_time": "9999-01-01"}, {"min_time": "PT1H"},
    ],
    ids=_name,
)  # fmt: skip
def test_runs_are_made_ahead_within_bounds(body: Any) -> None:
    with pytest.raises(Malformed):
        ahead_judged(body, NOW)


def test_what_the_clients_ask_for_ahead() -> None:
    for body in (None, {}, {"start_time": "2026-11-28T00:00:00Z", "end_time": None, "max_runs": 100, "min_time": 60.5}):
        ahead_judged(body, NOW)


# As Prefect works them out.


def worked_out(schedules: Sequence[Any], home: Path) -> list[str]:
    if importlib.util.find_spec("prefect") is None:
        missing("prefect")
    script = Path(__file__).with_name("work_out.py")
    done = subprocess.run(
        [sys.executable, "-P", script],
        env={**os.environ, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
        input=json.dumps({"schedules": list(schedules), "most": 8_000_000}).encode(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    told: list[str] = json.loads(done.stdout.splitlines()[-1])
    return told


def _any(dice: random.Random) -> dict[str, Any]:
    """Of any shape; half of them never come."""
    if dice.random() < 0.4:
        fields = [
            str(dice.randrange(60)), str(dice.randrange(24)), dice.choice(["*", "29", "30", "31", "L", "1-7", "*/10"]),
            dice.choice(["*", "2", "4,6", "feb-mar", "*/5"]), dice.choice(["*", "1", "5#5", "L3", "mon-fri", "0-7/3"]),
        ]  # fmt: skip
        return {"cron": " ".join(fields), "day_or": dice.random() < 0.5, "timezone": "Europe/Berlin"}
    parts = [
        f"FREQ={dice.choice(['YEARLY', 'MONTHLY', 'WEEKLY', 'DAILY', 'DAILY'])}",
        f"INTERVAL={dice.choice([1, 1, 2, 3, 4, 7, 28])}",
    ]
    choices = {
        "BYMONTH": ["2", "2,4,6,9,11", "1,7", "12"],
        "BYMONTHDAY": ["29", "30", "31", "-31", "-1", "13", "1,15"],
        "BYDAY": ["MO", "FR", "SA,SU", "1MO", "5FR", "-1SU", "MO,2TU"],
        "BYSETPOS": ["1", "-1", "5", "20"],
        "BYYEARDAY": ["366", "-366", "60"],
        "BYHOUR": ["0", "9,17"],
    }
    parts += [f"{name}={dice.choice(choices[name])}" for name in choices if dice.random() < 0.4]
    start = dice.choice(
        ["", "DTSTART:20200229T000000\nRRULE:", "DTSTART:20250131T093000\nRRULE:", "DTSTART:20210606\nRRULE:"]
    )
    return {"rrule": start + ";".join(parts), "timezone": "Europe/Berlin"}


def test_prefect_works_out_whatever_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(7)
    tried = [_any(dice) for _ in range(600)]
    passed = [one for one in (*FINE, *OFTEN, *tried) if verdict(one) is not None]
    told = worked_out(passed, tmp_path)
    wrong = [(how, one) for how, one in zip(told, passed, strict=True) if how]
    assert [one for one in wrong if one[0] != "refused by Prefect"] == []
    assert [one for one in wrong if one[1] in FINE] == []
    with capsys.disabled():
        print(f"\n  {len(passed)} of {len(tried) + len(FINE) + len(OFTEN)} schedules pass, and Prefect works each out")
