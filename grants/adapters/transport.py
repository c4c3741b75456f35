"""The connections of outgoing HTTP: ended in time, certificates checked, by the proxy that the environment names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import override

import httpcore
import httpx

from grants.adapters import trust
from grants.adapters.in_time import InTime
from grants.adapters.proxies import proxy_of

KEPT_SECONDS = 15  # that a connection is kept for the next call

_ERRORS = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        "ConnectError", "ConnectTimeout", "LocalProtocolError", "PoolTimeout", "ProxyError", "ReadError", "ReadTimeout",
        "RemoteProtocolError", "UnsupportedProtocol", "WriteError", "WriteTimeout",
    )
}  # fmt: skip


class Transport(httpx.BaseTransport):
    """Pools of connections whose sockets are `time`'s: httpx's own transport takes none from outside."""

    def __init__(self, time: InTime, *, connections: int) -> None:
        self._time = time
        self._connections = connections
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}  # by proxy
        self._lock = Lock()

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        wanted = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        timeout = request.extensions.get("timeout", {})
        timeout = {**timeout, "pool": self._time.left(timeout.get("pool"))}
        assert isinstance(request.stream, httpx.SyncByteStream)
        with _as_httpx():
            answer = self._pool(proxy_of(url.scheme, url.host, url.port)).handle_request(
                httpcore.Request(
                    method=request.method,
                    url=wanted,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "timeout": timeout},
                )
            )
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    @override
    def close(self) -> None:
        with self._lock:
            while self._pools:
                self._pools.popitem()[1].close()

    def _pool(self, proxy: str | None) -> httpcore.ConnectionPool:
        with self._lock:
            pool = self._pools.get(proxy)
            if pool is None:
                pool = self._pools[proxy] = self._made(proxy)
            return pool

    def _made(self, proxy: str | None) -> httpcore.ConnectionPool:
        if proxy is None:
            return httpcore.ConnectionPool(
                ssl_context=trust.context(),
                max_connections=self._connections,
                keepalive_expiry=KEPT_SECONDS,
                network_backend=self._time,
            )
        there = httpx.Proxy(proxy)
        if there.url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol("a proxy that speaks no HTTP")
        at = there.url
        return httpcore.HTTPProxy(
            proxy_url=httpcore.URL(scheme=at.raw_scheme, host=at.raw_host, port=at.port, target="/"),
            proxy_auth=there.raw_auth,
            ssl_context=trust.context(),
            proxy_ssl_context=trust.context() if at.scheme == "https" else None,
            max_connections=self._connections,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=self._time,
        )


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    @override
    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._stream

    @override
    def close(self) -> None:
        if close := getattr(self._stream, "close", None):
            close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error
