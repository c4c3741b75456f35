"""One deadline for a whole exchange: name lookup, connect, TLS, headers and body together.

httpx limits each single wait. So it would never give up on a server that sends one byte of a header every second, or
on a name with many addresses of which none answers.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, override

import httpcore


class InTime(httpcore.SyncBackend):
    """Sockets that wait no longer than the deadline of the exchange that their thread is in."""

    def __init__(self) -> None:
        self._mine = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit everything that this thread sends and receives in this block to `seconds`, together."""
        self._mine.end = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._mine.end

    def left(self, timeout: float | None) -> float | None:
        end: float | None = getattr(self._mine, "end", None)
        if end is None:
            return timeout
        left = max(0.001, end - time.monotonic())  # 0 would make the socket non-blocking, which fails differently
        return left if timeout is None else min(timeout, left)

    def over(self) -> bool:
        end: float | None = getattr(self._mine, "end", None)
        return end is not None and time.monotonic() >= end

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in _addresses(host, self.left(timeout)):
            if self.over():
                raise httpcore.ConnectTimeout("no address answers")
            try:
                stream = super().connect_tcp(address, port, self.left(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self)
        raise failure


def _addresses(host: str, timeout: float | None) -> list[str]:
    """The addresses of a host, in the resolver's order.

    The resolver has no time-out that we can set, so it runs in a thread of its own, which is left behind on time-out.
    """
    try:
        return _look_up(host, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name, to be looked up
    except UnicodeError as error:  # a label is empty or too long
        raise httpcore.ConnectError(str(error)) from error
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(_look_up(host))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=ask, name="look_up", daemon=True).start()
    try:
        answer = found.get(timeout=timeout)
    except queue.Empty:
        raise httpcore.ConnectTimeout("the name was not looked up in time") from None
    if isinstance(answer, Exception):
        raise httpcore.ConnectError(str(answer)) from answer
    return answer


def _look_up(host: str, flags: int = 0) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, time: InTime) -> None:
        self._stream = stream
        self._time = time

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._time.over():  # even if more bytes are there: a server may never stop sending
            raise httpcore.ReadTimeout("the exchange is over")
        return self._stream.read(max_bytes, self._time.left(timeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._time.left(timeout))

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._time.left(timeout))
        except ValueError as error:  # a name that no certificate can have, such as ".example"
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(stream, self._time)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    @override
    def close(self) -> None:
        self._stream.close()
