"""Due jobs, the functions that do them, and the signs of life of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from django.db import connection, models
from django.db.models import Case, F, Q, When
from django.db.models.expressions import RawSQL

from grants.clock import StintNow

LEASE = timedelta(seconds=60)  # longer than any job's time limit
BEAT_STALE = timedelta(seconds=30)  # a process that was silent for longer is taken for dead


class DueJob(models.Model):
    """A job that the sweeper publishes to Celery, or does in place, once it is due."""

    name = models.TextField(primary_key=True)  # "mail" or "sync:prefect-prod": the kind, and which one
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)


class ProcessBeat(models.Model):
    """The last sign of life of a process."""

    name = models.TextField(primary_key=True)  # "worker host:pid"; "gate …", by the gate's own function
    at = models.DateTimeField()
    version = models.TextField()


class UnknownJob(Exception):
    """No package has registered a job of this kind; another release has."""


class Job(NamedTuple):
    """What a package does whenever a row named `kind` or `kind:which` is due."""

    do: Callable[[str], timedelta | None]  # called with `which`; returns the time until it is due again, None for never
    has_work: str  # SQL; a due row is left alone while this is false
    in_place: bool  # done by the sweeper itself, which hands the others to Celery
    standing: Callable[[], Iterable[str]]  # the names of rows that every worker inserts when they are missing


JOBS: dict[str, Job] = {}


def job[Do: Callable[[str], timedelta | None]](
    kind: str,
    *,
    has_work: str = "true",
    in_place: bool = False,
    standing: Callable[[], Iterable[str]] = tuple,
) -> Callable[[Do], Do]:
    """Register the decorated function for the jobs of this kind. `has_work` is a constant, never input."""

    def register(do: Do) -> Do:
        assert kind not in JOBS, kind
        JOBS[kind] = Job(do, has_work, in_place, standing)
        return do

    return register


def do(name: str) -> timedelta | None:
    """Do the job of this name; return the time until it is due again, or None when it is done for good.

    Raises UnknownJob, and what the registered function raises.
    """
    kind, _, which = name.partition(":")
    if kind not in JOBS:
        raise UnknownJob(name)
    return JOBS[kind].do(which)


_KIND = "split_part(name, ':', 1)"
_CLAIM = """
WITH due AS MATERIALIZED (  -- otherwise the planner may repeat the subquery and take more than LIMIT
    SELECT name FROM grants_duejob
    WHERE due_at <= stint_now() AND (lease_until IS NULL OR lease_until < stint_now())
        AND ({kind} = ANY (%s)) = %s AND {wanted}
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE grants_duejob j SET lease_until = stint_now() + %s FROM due WHERE j.name = due.name RETURNING j.name
"""


def _wanted() -> str:
    having = [f"({_KIND} <> '{kind}' OR {job.has_work})" for kind, job in JOBS.items() if job.has_work != "true"]
    return " AND ".join(having) or "true"


def wanted() -> models.QuerySet[DueJob, DueJob]:
    """Return the jobs that have something to do, due or not."""
    return DueJob.objects.filter(RawSQL(_wanted(), [], models.BooleanField()))  # noqa: S611 (constants)


def claim(*, in_place: bool, limit: int = 20) -> list[str]:
    """Lease due jobs for a minute, those done in place or the others; after that they are due again."""
    here = [kind for kind, job in JOBS.items() if job.in_place]
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.format(kind=_KIND, wanted=_wanted()), [here, in_place, limit, str(LEASE)])
        return [name for (name,) in cursor.fetchall()]


def done(name: str, *, again: timedelta) -> None:
    """Give a job back: due again after `again`, or now if hurry() was called after it was claimed."""
    hurried = Q(due_at__gt=F("lease_until") - LEASE)
    due_at = Case(When(hurried, then=F("due_at")), default=StintNow() + again)
    DueJob.objects.filter(name=name).update(due_at=due_at, lease_until=None)


def ensure(name: str) -> None:
    """Insert a job that is due now, unless it exists."""
    DueJob.objects.bulk_create([DueJob(name=name, due_at=StintNow())], ignore_conflicts=True)


def ensure_standing() -> None:
    """Insert the missing rows that every worker is responsible for."""
    for one in JOBS.values():
        for name in one.standing():
            ensure(name)


def is_known(name: str) -> bool:
    return DueJob.objects.filter(name=name).exists()


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Hold this job alone for the block; yields False when another process has it, such as by a late message."""
    key = [f"job {name}"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key)
        (ours,) = cursor.fetchone()
    try:
        yield ours
    finally:
        if ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


def forget(name: str) -> None:
    """Delete a job that is done for good."""
    DueJob.objects.filter(name=name).delete()


def hurry(name: str) -> None:
    """Make an existing job due now."""
    DueJob.objects.filter(name=name).update(due_at=StintNow())


def worker_beats() -> models.QuerySet[ProcessBeat, ProcessBeat]:
    """Return the signs of life of Celery workers, the only processes that do due jobs."""
    return ProcessBeat.objects.filter(name__startswith="worker ")


def beat(name: str, version: str) -> None:
    """Record that this process is alive; delete the rows of those silent for a day."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO grants_processbeat (name, at, version) VALUES (%s, stint_now(), %s)"
            " ON CONFLICT (name) DO UPDATE SET at = excluded.at, version = excluded.version",
            [name, version],
        )
    ProcessBeat.objects.filter(at__lt=StintNow() - timedelta(days=1)).delete()
