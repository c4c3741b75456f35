"""Statements that the gate sends to the database: by one connection, made when it is needed and after each failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

SECONDS = 5.0  # for one statement


class Unwritten(Exception):
    """The database did not confirm a statement. Whether it took effect before the connection broke is not known."""


class Rejected(Exception):
    """The database refuses a statement for what it says, and will again."""


class Writes:
    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def call(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        """Execute one statement, committed by itself; give its first row. Raises Unwritten or Rejected."""
        try:
            async with asyncio.timeout(SECONDS), self._turn:
                connection = await self._connected()
                return await (await connection.execute(sql, values)).fetchone()
        except (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.ProgrammingError,
            OSError,
            TimeoutError,
        ) as error:
            await self.close()  # a ProgrammingError: a migration has yet to make the function
            raise Unwritten(type(error).__name__) from error
        except psycopg.Error as error:
            raise Rejected(str(error)) from error

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=2,
                application_name="stint gate writes",
                # The server notices a gate that is cut off, and releases its locks.
                options="-c statement_timeout=4s -c lock_timeout=2s"
                " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2",
                tcp_user_timeout=4000,
            )
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
