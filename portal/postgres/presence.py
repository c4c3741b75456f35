"""Does the database answer? A frozen one holds every thread that waits for it, so somebody else must say so.

libpq has no time-out for an answer, and the time-outs of PostgreSQL freeze with it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from portal.postgres.rights import APP_TOO_MUCH, refusal

log = structlog.get_logger(__name__)

ASK_EVERY = 0.25  # seconds
AWAY_AFTER = 1.2  # seconds without an answer; with the next, all that a page ever waits for the database
LOOK_EVERY = 0.1

type Connection = psycopg.Connection[Any]


class Presence:
    """Asks on a connection of its own, and hangs up on everybody's behalf when there is no answer.

    One that takes us for a role that could change the record is as good as away: no page is served with it.

    Two threads: the one that asks may itself be the one that hangs. Not started, it believes in the database.
    """

    def __init__(self) -> None:
        self._answered: float | None = None
        self._lock = threading.Lock()
        self._right: str | None = ""  # of the role; None is as it should be, "" is not known
        self._waiting: WeakSet[Connection] = WeakSet()

    def start(self, connect: Callable[[], Connection]) -> None:
        """Ask from now on; `connect` opens a connection in autocommit."""
        self._answered = time.monotonic()
        for name, work in (("asks", lambda: self._ask(connect)), ("hangs-up", self._hang_up)):
            threading.Thread(target=work, name=f"database-{name}", daemon=True).start()

    def away(self) -> bool:
        return self._answered is not None and time.monotonic() - self._answered > AWAY_AFTER

    def watch(self, connection: Connection) -> None:
        """Hang up on this connection, too, when it waits for a database that is away."""
        with self._lock:
            self._waiting.add(connection)

    def awaited(self, connect: Callable[[], Connection]) -> Connection | None:
        """What `connect` opens; None as soon as the database is away.

        libpq looks a name up without an end and then waits two seconds at least, at each of its addresses. So it does
        that in a thread of its own, which nobody waits for any more.
        """
        if self._answered is None:
            return connect()
        coming: Future[Connection] = Future()
        threading.Thread(target=_open, args=(connect, coming), name="database-connects", daemon=True).start()
        while not wait([coming], LOOK_EVERY).done:
            if self.away() and coming.cancel():
                return None
        return coming.result()

    def _ask(self, connect: Callable[[], Connection]) -> None:
        while True:
            with suppress(psycopg.Error):
                self._ask_on(connect())
            time.sleep(ASK_EVERY)

    def _ask_on(self, connection: Connection) -> None:
        self.watch(connection)
        try:
            while self._may(connection):
                connection.execute("SELECT 1")
                self._answered = time.monotonic()
                time.sleep(ASK_EVERY)
        finally:
            connection.close()

    def _may(self, connection: Connection) -> bool:
        """May we answer as this role? Asked until it may: rights are not given to a role that is running."""
        if self._right is None:
            return True
        ((right,),) = connection.execute(APP_TOO_MUCH).fetchall()
        if right and right != self._right:
            log.error("database_role_refused", why=refusal("STINT_DATABASE_URL", "stint_app", right))
        self._right = right
        return right is None

    def _hang_up(self) -> None:
        was = False
        while True:
            time.sleep(LOOK_EVERY)
            away = self.away()
            if away != was:
                log.log(40 if away else 30, "database_away" if away else "database_back")
            was = away
            if away:
                with self._lock:
                    waiting = list(self._waiting)
                for connection in waiting:
                    _shut(connection)


def _open(connect: Callable[[], Connection], coming: Future[Connection]) -> None:
    try:
        connection = connect()
    except BaseException as error:  # noqa: BLE001 (whoever waits is told)
        with suppress(InvalidStateError):
            coming.set_exception(error)
        return
    try:
        coming.set_result(connection)
    except InvalidStateError:  # too late for who had asked
        connection.close()


def _shut(connection: Connection) -> None:
    """Let whoever waits on it hear that the line is dead. One that nobody waits on is let be."""
    with suppress(OSError, psycopg.Error):
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


PRESENCE = Presence()  # of this process; portal.asgi starts it
