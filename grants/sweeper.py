"""The sweeper: in every Celery worker, does the work that must happen on time and hands other due jobs to Celery.

It has three threads, so that neither a slow provider nor a frozen broker delays the others. One closes grants and
exports heads, one gives and takes roles; NOTIFY wakes both, and they look at least twice a second. The third hands due
jobs to Celery. None of them depends on a message.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, override

import structlog
from celery import bootsteps
from celery.worker import WorkController
from django.conf import settings
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError as BrokerError
from psycopg import Error as PostgresError
from redis.exceptions import RedisError

from grants import due
from grants.audit.export import HeadKeyError, RecordBehind
from grants.lifecycle import access, decide
from grants.policy import versions
from grants.provisioning.reconcile import seconds_to_next
from grants.tasks import reconcile, run

log = structlog.get_logger(__name__)

POLL = 0.5  # seconds; the most that a lost wake-up delays
REST = 0.25  # seconds between two turns, because every event notifies and hundreds of them need no turn each
BEAT = 5.0
BATCH = 50
LAST_TURN = 20.0  # seconds for the turns in progress to end when the worker is told to stop
NAME = f"worker {socket.gethostname()}:{os.getpid()}"


def turn() -> int:
    """Do what is due once; return how many rows changed. Safe in any number of workers at once."""
    moved = access.close_elapsed(limit=BATCH) + access.close_left(limit=BATCH) + access.close_retired(limit=BATCH)
    moved += decide.lapse(limit=BATCH)
    for name in due.claim(in_place=True):
        try:
            again = due.do(name)
        except (HeadKeyError, RecordBehind, OSError) as error:
            log.error("head_not_exported", error=str(error))
            again = timedelta(seconds=15)
        if again is not None:
            due.done(name, again=again)
    return moved


def publish() -> int:
    """Hand due jobs to Celery; return how many. Jobs that the broker does not accept are due again in 2 s."""
    names = due.claim(in_place=False)
    for name in names:
        try:
            run.apply_async(args=[name], retry=False)
        except (BrokerError, RedisError, OSError) as error:
            log.warning("broker_down", job=name, error=type(error).__name__)
            due.done(name, again=timedelta(seconds=2))
    return len(names)


class SweeperStep(bootsteps.StartStopStep):
    """Starts and stops the threads with the worker, after its pool has forked."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: WorkController, **options: Any) -> None:
        super().__init__(parent, **options)
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    @override
    def start(self, parent: WorkController) -> None:
        self.threads = [
            threading.Thread(target=self._keep, args=(loop,), name=loop.__name__, daemon=True)
            for loop in (self.sweep, self.reconcile, self.hand_on)
        ]
        for thread in self.threads:
            thread.start()

    @override
    def stop(self, parent: WorkController) -> None:
        self.stopping.set()
        deadline = time.monotonic() + LAST_TURN
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))  # claimed work is finished, not dropped

    def sweep(self) -> None:
        """Until stopping or an error: turn, then wait for a NOTIFY or the poll."""
        _listen()
        due.ensure_standing()
        due.hurry(
            versions.JUDGE
        )  # a worker of the previous release, which did not know this job, may have postponed it
        beaten = 0.0
        while not self.stopping.is_set():
            if time.monotonic() - beaten >= BEAT:
                due.beat(NAME, settings.VERSION)
                beaten = time.monotonic()
            if turn() == 0:
                self.stopping.wait(REST)
                _wait(POLL - REST)

    def reconcile(self) -> None:
        """Until stopping or an error: reconcile, then wait for a NOTIFY, the next due moment or the poll."""
        _listen()
        while not self.stopping.is_set():
            if reconcile(lambda: not self.stopping.is_set()) == 0:
                due_in = seconds_to_next()
                _wait(POLL if due_in is None else min(POLL, due_in + 0.001))

    def hand_on(self) -> None:
        while not self.stopping.is_set():
            publish()
            self.stopping.wait(POLL)

    def _keep(self, loop: Callable[[], None]) -> None:
        """Run a loop again after every error until the worker stops: the database may be away for a while."""
        while not self.stopping.is_set():
            try:
                loop()
            except (DatabaseError, PostgresError) as error:
                log.warning("sweeper_waits_for_database", loop=loop.__name__, error=str(error))
            except Exception:
                # Whatever the error was, the next turn must still close grants that are over.
                log.exception("sweeper_failed", loop=loop.__name__)
            connection.close()
            self.stopping.wait(POLL)
        connection.close()


def _listen() -> None:
    connection.ensure_connection()
    connection.connection.execute("LISTEN stint")


def _wait(seconds: float) -> None:
    """Wait for a NOTIFY, at most this long."""
    for _ in connection.connection.notifies(timeout=seconds, stop_after=1):
        pass
