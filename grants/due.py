"""What is due when, and which processes are alive: the rows the sweeper lives by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection, models
from django.db.models import Case, F, Q, When
from django.db.models.expressions import RawSQL

from grants.clock import StintNow

LEASE = timedelta(seconds=60)  # longer than any job's time limit


class DueJob(models.Model):
    """A job that the sweeper publishes to Celery (or, for heads, does in place) once it is due."""

    name = models.TextField(primary_key=True)  # "sync:prefect-prod", "directory:demo", "mail", "usage", "sessions"…
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)


class ProcessBeat(models.Model):
    """The last sign of life of a process."""

    name = models.TextField(primary_key=True)  # "worker host:pid"; "gate …", by the gate's own function
    at = models.DateTimeField()
    version = models.TextField()


# Mail is due when the record has what its cursor has not read.
_WANTED = "(name <> 'mail' OR (SELECT seq FROM grants_audithead) > (SELECT seq FROM grants_cursor WHERE name = 'mail'))"
_CLAIM = f"""
WITH due AS MATERIALIZED (  -- else the planner may ask for them again and again, and take more than LIMIT
    SELECT name FROM grants_duejob
    WHERE due_at <= stint_now() AND (lease_until IS NULL OR lease_until < stint_now()) AND (name = 'heads') = %s
        AND {_WANTED}
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE grants_duejob j SET lease_until = stint_now() + %s FROM due WHERE j.name = due.name RETURNING j.name
"""  # noqa: S608 (two constants)


def wanted() -> models.QuerySet[DueJob, DueJob]:
    """The jobs that are taken up once they are due: mail only while there is something to send."""
    return DueJob.objects.filter(RawSQL(_WANTED, [], models.BooleanField()))  # noqa: S611 (a constant)


def claim(*, heads: bool, limit: int = 20) -> list[str]:
    """Take due jobs for a minute; nobody else gets them meanwhile, and after it they are due again.

    The export of heads, which is done in place, or the others, which are published.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [heads, limit, str(LEASE)])
        return [name for (name,) in cursor.fetchall()]


def done(name: str, *, again: timedelta) -> None:
    """Give a job back: due again after `again`; at once, if somebody hurried it after it was claimed."""
    hurried = Q(due_at__gt=F("lease_until") - LEASE)
    due_at = Case(When(hurried, then=F("due_at")), default=StintNow() + again)
    DueJob.objects.filter(name=name).update(due_at=due_at, lease_until=None)


def release(name: str, *, after: timedelta) -> None:
    """A job that could not be handed on is tried again soon."""
    done(name, again=after)


def ensure(name: str) -> None:
    """Make a job known and due now, or leave it as it is."""
    DueJob.objects.bulk_create([DueJob(name=name, due_at=StintNow())], ignore_conflicts=True)


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
