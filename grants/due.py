"""What is due when, and which processes are alive: the rows the sweeper lives by."""

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


class DueJob(models.Model):
    """A job that the sweeper publishes to Celery, or does in place, once it is due."""

    name = models.TextField(primary_key=True)  # "mail", or "sync:prefect-prod": the kind, and which
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)


class ProcessBeat(models.Model):
    """The last sign of life of a process."""

    name = models.TextField(primary_key=True)  # "worker host:pid"; "gate …", by the gate's own function
    at = models.DateTimeField()
    version = models.TextField()


class UnknownJob(Exception):
    """No room has registered such a job: it is of another release."""


class Job(NamedTuple):
    """Work that a room does whenever a row called `kind`, or `kind:which`, is due."""

    do: Callable[[str], timedelta | None]  # gets `which`; answers after how long it is due again, None: never
    has_work: str  # SQL: a row that is due is left alone while this is false
    in_place: bool  # by the sweeper itself, which publishes the others
    standing: Callable[[], Iterable[str]]  # rows that every worker makes sure of


JOBS: dict[str, Job] = {}


def job[Do: Callable[[str], timedelta | None]](
    kind: str,
    *,
    has_work: str = "true",
    in_place: bool = False,
    standing: Callable[[], Iterable[str]] = tuple,
) -> Callable[[Do], Do]:
    """Register the decorated function as what does the jobs of this kind. `has_work` is a constant of the room."""

    def register(do: Do) -> Do:
        assert kind not in JOBS, kind
        JOBS[kind] = Job(do, has_work, in_place, standing)
        return do

    return register


def do(name: str) -> timedelta | None:
    """Do the job called `name`; returns after how long it is due again, or None: it was to be done once.

    Raises whatever the room's function does, and UnknownJob.
    """
    kind, _, which = name.partition(":")
    if kind not in JOBS:
        raise UnknownJob(name)
    return JOBS[kind].do(which)


_KIND = "split_part(name, ':', 1)"
_CLAIM = """
WITH due AS MATERIALIZED (  -- else the planner may ask for them again and again, and take more than LIMIT
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
    """The jobs that are taken up once they are due: those for which there is something to do."""
    return DueJob.objects.filter(RawSQL(_wanted(), [], models.BooleanField()))  # noqa: S611 (constants of the rooms)


def claim(*, in_place: bool, limit: int = 20) -> list[str]:
    """Take due jobs for a minute; nobody else gets them meanwhile, and after it they are due again.

    Those that are done in place, or the others, which are published.
    """
    here = [kind for kind, job in JOBS.items() if job.in_place]
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.format(kind=_KIND, wanted=_wanted()), [here, in_place, limit, str(LEASE)])
        return [name for (name,) in cursor.fetchall()]


def done(name: str, *, again: timedelta) -> None:
    """Give a job back: due again after `again`; at once, if somebody hurried it after it was claimed."""
    hurried = Q(due_at__gt=F("lease_until") - LEASE)
    due_at = Case(When(hurried, then=F("due_at")), default=StintNow() + again)
    DueJob.objects.filter(name=name).update(due_at=due_at, lease_until=None)


def ensure(name: str) -> None:
    """Make a job known and due now, or leave it as it is."""
    DueJob.objects.bulk_create([DueJob(name=name, due_at=StintNow())], ignore_conflicts=True)


def ensure_standing() -> None:
    """Make known what every worker sees to."""
    for one in JOBS.values():
        for name in one.standing():
            ensure(name)


def is_known(name: str) -> bool:
    return DueJob.objects.filter(name=name).exists()


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Whether this job is ours alone for the block. Messages that were late come beside those that replaced them."""
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
    """A job that was to be done once is done."""
    DueJob.objects.filter(name=name).delete()


def hurry(name: str) -> None:
    """Make a known job due now."""
    DueJob.objects.filter(name=name).update(due_at=StintNow())


def worker_beats() -> models.QuerySet[ProcessBeat, ProcessBeat]:
    """Those of the Celery workers: what is due is done by nobody else."""
    return ProcessBeat.objects.filter(name__startswith="worker ")


def beat(name: str, version: str) -> None:
    """Say that this process is alive; forget those silent for a day."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO grants_processbeat (name, at, version) VALUES (%s, stint_now(), %s)"
            " ON CONFLICT (name) DO UPDATE SET at = excluded.at, version = excluded.version",
            [name, version],
        )
    ProcessBeat.objects.filter(at__lt=StintNow() - timedelta(days=1)).delete()
