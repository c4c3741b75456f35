"""An end for a whole exchange, its head included.

httpx limits each single read: a server that sends one byte of a header every second would never be over.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, override

import httpcore
import httpx


class InTime(httpcore.SyncBackend):
    """Sockets whose every wait ends with the exchange that this thread is in."""

    def __init__(self) -> None:
        self._mine = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All that this thread sends and receives in this block is over after `seconds`."""
        self._mine.end = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._mine.end

    def left(self, timeout: float | None) -> float | None:
        end: float | None = getattr(self._mine, "end", None)
        if end is None:
            return timeout
        left = max(0.001, end - time.monotonic())  # 0 would mean: do not wait at all, and fail in another way
        return left if timeout is None else min(timeout, left)

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, self.left(timeout), local_address, socket_options)
        return _Stream(stream, self)

    def of(self, client: httpx.Client) -> None:
        """Make it the one of every connection of `client`, those through a proxy too: httpx has no argument for it."""
        for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 (see above)
            if isinstance(transport, httpx.HTTPTransport):
                transport._pool._network_backend = self  # noqa: SLF001 (see above)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, time: InTime) -> None:
        self._stream = stream
        self._time = time

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._time.left(timeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._time.left(timeout))

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._time.left(timeout))
        return _Stream(stream, self._time)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    @override
    def close(self) -> None:
        self._stream.close()
