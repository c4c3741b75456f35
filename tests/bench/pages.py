"""`make bench-pages`: what each page costs at a large company, as engineer, approver, admin and auditor; then files, and
the verification of the record (tests/bench/record.py).

ARGS="--grants 20000" makes a smaller one; --keep DIR uses the same database again; --only PAGE measures some pages.
Server time through Django's test client in one process: the middleware, the view, the database, the template.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import django

from tests.bench import company, record
from tests.bench.figures import percentile

GOAL_MS, GOAL_QUERIES = 50, 12
PATIENCE = 20.0  # seconds: a page that takes longer is stopped, and said to be
SLOW = 1.0  # seconds: tried only three times more


class TooLong(BaseException):
    """Past the patience. No `except Exception` on the way may take it for an error of the page."""


class Page(NamedTuple):
    name: str
    address: str


class Cost(NamedTuple):
    """Of one page for one person; `note` instead of figures where it could not be measured."""

    times: list[float]
    queries: int
    database: float  # seconds of it
    mib: float  # most memory that it took
    note: str = ""


def main() -> int:
    options = _options()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="stint-pages-"))
    size = company.Size(options.grants)
    try:
        made = company.is_made(folder, size)
        with company.company(folder, size) as env:
            os.environ |= env
            company.manage("migrate", "--verbosity", "0")
            if not made:
                company.manage("audit_key")
            company.manage("collectstatic", "--no-input", "--verbosity", "0")
            django.setup()
            if not made:
                began = time.monotonic()
                company.make(env["STINT_BENCH_SUPERUSER"], folder, size)
                print(f"made {size.numbers} in {time.monotonic() - began:.0f} s", flush=True)
            company.judge()
            return _measure(size, options)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-pages")
    parser.add_argument("--grants", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="a folder for the database, made once and used again")
    parser.add_argument("--only", action="append", default=[], help="pages whose name starts with this; record")
    parser.add_argument("--who", action="append", default=[], help="engineer, approver, admin or auditor")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds after which a page is stopped")
    parser.add_argument("--queries", action="store_true", help="also say which queries took long")
    return parser.parse_args()


def _measure(size: company.Size, options: argparse.Namespace) -> int:
    from django.test import Client  # noqa: PLC0415 (needs the settings)

    from accounts.models import Subject  # noqa: PLC0415

    numbers = size.numbers
    people = {"engineer": size.people // 2, "approver": 11, "admin": numbers["admin"], "auditor": numbers["auditor"]}
    print(f"{'page':<22}{'who':<10}{'p50 ms':>9}{'p95 ms':>9}{'queries':>9}{'db ms':>9}{'MiB':>7}", flush=True)
    missed = 0
    for who, pk in people.items():
        if options.who and who not in options.who:
            continue
        client = Client(headers={"host": "127.0.0.1:8000"})
        client.force_login(Subject.objects.get(pk=pk))
        for page in _pages(pk, sees_all=who in {"admin", "auditor"}):
            if options.only and not any(page.name.startswith(name) for name in options.only):
                continue
            cost = _cost(client, page, options)
            print(_line(page, who, cost), flush=True)
            missed += _missed(cost)
        if who == "auditor" and (not options.only or "record" in options.only):
            record.files(client)
            record.verification()
    print(f"{missed} missed the goal of p95 <= {GOAL_MS} ms and <= {GOAL_QUERIES} queries")
    return 0


def _line(page: Page, who: str, cost: Cost) -> str:
    if cost.note:
        return f"{page.name:<22}{who:<10}{cost.note}"
    p50, p95 = median(cost.times) * 1000, percentile(cost.times, 95) * 1000
    told = f"{p50:>9.0f}{p95:>9.0f}{cost.queries:>9}{cost.database * 1000:>9.0f}{cost.mib:>7.0f}"
    return f"{page.name:<22}{who:<10}{told}{'  missed' if _missed(cost) else ''}"


def _missed(cost: Cost) -> bool:
    return bool(cost.note) or percentile(cost.times, 95) * 1000 > GOAL_MS or cost.queries > GOAL_QUERIES


def _pages(pk: int, *, sees_all: bool) -> Iterator[Page]:
    """What a person opens, with rows that are theirs to see."""
    from grants.catalog.models import Resource  # noqa: PLC0415
    from grants.lifecycle.models import Grant, Request  # noqa: PLC0415

    mine = Grant.objects.filter(beneficiary=pk)
    grant, request = mine.order_by("-pk").first(), Request.objects.filter(requester=pk).order_by("-pk").first()
    thing = Resource.objects.filter(kind="deployment", retired_at=None, connection__environment="staging").first()
    assert grant
    assert request
    assert thing
    yield Page("home", "/")
    yield Page("inbox", "/inbox")
    yield Page("inbox decided", "/inbox?tab=decided")
    yield Page("access", "/access")
    yield Page("catalog", "/catalog")
    yield Page("catalog page 40", "/catalog?page=40")
    yield Page("catalog search", "/catalog?q=orders+daily")
    yield Page("catalog rare", "/catalog?q=fraud-archive-117")
    yield Page("catalog nothing", "/catalog?q=nosuchthing")
    yield Page("catalog owner", "/catalog?owner=team-012&kind=deployment")
    yield Page("catalog mine=ask", "/catalog?mine=ask")
    yield Page("catalog mine=have", "/catalog?mine=have")
    yield Page("resource", f"/catalog/{thing.pk}")
    yield Page("request new", f"/requests/new?item={thing.pk}:view")
    yield Page("request new find", f"/requests/new?item={thing.pk}:view&find=billing+mart")
    yield Page("request", f"/requests/{request.pk}")
    yield Page("grant", f"/grants/{grant.pk}")
    yield Page("history", "/history")
    yield Page("history person", "/history?person=Okafor")
    yield Page("history text", "/history?q=orders-daily")
    yield Page("history reason", "/history?q=outage")
    yield Page("history nothing", "/history?q=nosuchthing")
    yield Page("history live", "/history?state=live")
    yield Page("history denied", "/history?state=denied")
    yield Page("history older", f"/history?before={request.pk // 2}")
    yield Page("history.csv", "/history.csv")
    yield Page("history.jsonl", "/history.jsonl")
    yield Page("connections", "/connections")
    yield Page("policy", "/policy")
    yield Page("services", "/services")
    yield Page("settings", "/settings")
    if sees_all:
        yield Page("audit", "/audit")
        yield Page("audit request", f"/audit?thing=R-{request.pk}")
        yield Page("audit person", "/audit?thing=Okafor")
        yield Page("audit.csv", "/audit.csv")
        yield Page("audit.jsonl", "/audit.jsonl")
        yield Page("audit verb", "/audit?verb=grant.revoked")
        yield Page("audit actor", f"/audit?actor=S-{pk}")
        yield Page("status", "/status")
        yield Page("metrics", "/metrics")


def _cost(client: Any, page: Page, options: argparse.Namespace) -> Cost:
    from django.db import connection  # noqa: PLC0415

    tries: list[float] = []
    counted = _Queries()
    most = 0.0
    try:
        while len(tries) < (options.tries if not tries or min(tries) < SLOW else 3):
            counted = _Queries()
            base = _rest()
            with counted.watch(), _within(options.patience):
                began = time.perf_counter()
                _get(client, page.address)
                took = time.perf_counter() - began
            most = max(most, _peak() - base)
            tries.append(took)
    except TooLong:
        connection.close()  # a query may be under way
        return Cost([], 0, 0, 0, f"  over {options.patience:.0f} s, stopped, after {counted.count} queries")
    except Exception as error:  # noqa: BLE001 (a statement's time-out, mostly)
        return Cost([], 0, 0, 0, f"  {type(error).__name__}: {str(error).splitlines()[0]}")
    if options.queries:
        counted.tell()
    warm = tries[1:]  # the first compiles templates and plans
    return Cost(warm, counted.count, counted.seconds, most)


def _get(client: Any, address: str) -> None:
    answer = client.get(address)
    if answer.status_code != 200:
        raise AssertionError(f"{address}: {answer.status_code}")


class _Queries:
    """How many queries ran, how long, and which."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.of: Counter[str] = Counter()

    @contextmanager
    def watch(self) -> Iterator[None]:
        from django.db import connection  # noqa: PLC0415

        with connection.execute_wrapper(self._run):
            yield

    def _run(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            took = time.perf_counter() - began
            self.count += 1
            self.seconds += took
            self.of[re.sub(r"(%s, )+%s", "…", sql)] += int(took * 1_000_000)

    def tell(self) -> None:
        for sql, micros in self.of.most_common():
            print(f"    {micros / 1000:8.1f} ms  {sql[:600]}")


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _rest() -> float:
    """MiB in use with nothing to do; the high-water mark is set back to it."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """MiB at most since _rest()."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
