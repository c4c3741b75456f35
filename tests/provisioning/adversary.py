"""Who takes part in a walk: workers that go on a step at a time, and a provider that does what the dice have decided."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import override

from django.db import connection

from grants.adapters.errors import Missing, Unavailable
from grants.adapters.idp.base import CALL_SECONDS
from tests.provisioning.fake import FakeIdP

CALL = timedelta(seconds=CALL_SECONDS)


class Fate(Enum):
    """What becomes of a call at the provider."""

    OK = auto()
    DOWN = auto()  # it fails, and nothing happens
    LATE = auto()  # it times out, and is done afterwards
    LOST = auto()  # it is done, but its answer never comes
    LIE = auto()  # it says yes, and nothing happens


class Killed(BaseException):
    pass


class Worker(threading.Thread):
    """One worker, which goes on only when told, up to its next step."""

    def __init__(self, name: str, reconcile_once: Callable[[], int]) -> None:
        super().__init__(name=name, daemon=True)
        self.reconcile_once = reconcile_once
        self.go, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.where = ""  # the step it stands at; "" when idle
        self.leased_at: datetime | None = None
        self.sent: tuple[str, str, str] | None = None  # the call that it is about to make
        self.fate: Fate | None = Fate.OK
        self.asleep_until: datetime | None = None
        self.closing = False
        self.error: Exception | None = None

    @override
    def run(self) -> None:
        while True:
            self.go.acquire()
            if self.closing:
                break
            try:
                self.reconcile_once()
            except Killed:
                pass
            except Exception as error:  # noqa: BLE001 (told in the walk's thread)
                self.error = error
            self.where, self.leased_at, self.sent, self.asleep_until = "", None, None, None
            self.stopped.release()
        connection.close()
        self.stopped.release()

    def step(self, fate: Fate | None = Fate.OK) -> None:
        """Let it go on to its next step; None kills it where it stands."""
        self.fate = fate
        self.go.release()
        self.stopped.acquire()
        if self.error:
            raise self.error

    def pause(self, where: str, sent: tuple[str, str, str] | None = None) -> Fate:
        """Called by the worker itself, at each step."""
        self.where, self.sent = where, sent  # nothing is sent "after" a call
        self.stopped.release()
        self.go.acquire()
        if self.fate is None:
            raise Killed
        return self.fate


def me() -> Worker | None:
    thread = threading.current_thread()
    return thread if isinstance(thread, Worker) else None


class Provider(FakeIdP):
    """Does with each call what the walk has decided, and remembers what it must never be asked."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self.now = now
        self.lists = 0  # of who has a role
        self.theirs: set[tuple[str, str]] = set()  # held before Stint came
        self.flying: list[tuple[datetime, tuple[str, str, str]]] = []  # sent, and not yet done

    def _do(self, verb: str, person: str, role: str, effect: Callable[[set[str]], None]) -> None:
        worker = me()
        assert worker
        self.lists += verb == "list"
        fate = worker.pause(f"before {verb}", (verb, person, role))
        if verb == "revoke":
            assert (person, role) not in self.theirs, "a role held before Stint is taken away"
        if fate is Fate.DOWN or (fate is Fate.LIE and verb in ("read", "list")):
            raise Unavailable("down")
        if fate is Fate.LATE:
            self.flying.append((self.now() + CALL, (verb, person, role)))
            raise Unavailable("too slow")
        if person in self.gone:
            raise Missing("nobody")
        if fate is not Fate.LIE:
            effect(self.roles[person])
        worker.pause(f"after {verb}")
        if fate is Fate.LOST:
            raise Unavailable("the answer was lost")

    def land(self, flight: tuple[datetime, tuple[str, str, str]]) -> None:
        """A call that was sent a while ago is done now."""
        self.flying.remove(flight)
        verb, person, role = flight[1]
        if verb == "grant" and person not in self.gone:
            self.roles[person].add(role)
        elif verb == "revoke":
            self.roles[person].discard(role)
