"""Watch whether the database answers. A frozen database blocks every thread that waits for it, so other threads watch.

libpq has no time-out for an answer, and the time-outs of PostgreSQL freeze together with the server.
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
AWAY_AFTER = 1.2  # seconds without an answer; a page waits for the database this long plus LOOK_EVERY at most
LOOK_EVERY = 0.1

type Connection = psycopg.Connection[Any]


class Presence:
    """Asks the database on a connection of its own, and closes all waiting connections when it does not answer.

    A database that serves us under a role that could change the record counts as down: no page is served with it.
    There are two threads, because the one that asks can itself be blocked. Until start(), the database counts as up.
    """

    def __init__(self) -> None:
        self._answered: float | None = None
        self._lock = threading.Lock()
        self._right: str | None = ""  # a right too many of the role; None when there is none, "" when not known yet
        self._waiting: WeakSet[Connection] = WeakSet()

    def start(self, connect: Callable[[], Connection]) -> None:
        """Ask from now on; `connect` opens a connection in autocommit."""
        self._answered = time.monotonic()
        for name, work in (("asks", lambda: self._ask(connect)), ("hangs-up", self._hang_up)):
            threading.Thread(target=work, name=f"database-{name}", daemon=True).start()

    def away(self) -> bool:
        return self._answered is not None and time.monotonic() - self._answered > AWAY_AFTER

    def watch(self, connection: Connection) -> None:
        """Close this connection, too, when it waits for a database that is down."""
        with self._lock:
            self._waiting.add(connection)

    def awaited(self, connect: Callable[[], Connection]) -> Connection | None:
        """Return the connection that `connect` opens; None as soon as the database is down.

        libpq looks a name up without a time-out and then waits at least two seconds for each of its addresses. So
        `connect` runs in a thread of its own, which is left behind when the database is down.
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
        """Is the role free of rights that it must not have? Asked until it is: a running role is not given more."""
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
    except BaseException as error:  # noqa: BLE001 (the waiting thread raises it)
        with suppress(InvalidStateError):
            coming.set_exception(error)
        return
    try:
        coming.set_result(connection)
    except InvalidStateError:  # the thread that asked no longer waits
        connection.close()


def _shut(connection: Connection) -> None:
    """Shut the socket down, so that the thread which waits on it gets an error. An idle connection is left alone."""
    with suppress(OSError, psycopg.Error):
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


PRESENCE = Presence()  # of this process; portal.asgi starts it
