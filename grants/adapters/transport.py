"""Connections for outgoing HTTP: they have a deadline, check certificates and use the proxy of the environment.

They use httpcore, the lower layer of httpx, directly: the upper layer takes more CPU than a whole call to a provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple, Protocol

import httpcore
import httpx

from grants.adapters import trust
from grants.adapters.in_time import InTime
from grants.adapters.proxies import proxy_of

KEPT_SECONDS = 15  # that an idle connection is kept for the next call

type Headers = Sequence[tuple[bytes, bytes]]


class OutgoingRequest(NamedTuple):
    """A request as it is sent."""

    method: str
    url: httpcore.URL
    headers: Headers
    content: bytes
    timeout: Mapping[str, float | None]


class Response(NamedTuple):
    """The status, the headers, and the body as it arrives."""

    code: int
    headers: Headers
    body: Iterable[bytes]

    def header(self, name: bytes) -> bytes:
        """Return all headers of this lower-case name, joined by commas."""
        return b", ".join(value.strip() for key, value in self.headers if key.lower() == name)


class Transport(Protocol):
    """Sends requests; raises the errors of httpcore."""

    @contextmanager
    def send(self, request: OutgoingRequest) -> Iterator[Response]:
        """Send one request. Raises the errors of httpcore, also while the caller reads the body."""
        ...

    def close(self) -> None: ...


class PooledTransport:
    """Keeps one pool of connections for each proxy; `time` limits how long their sockets wait."""

    def __init__(self, time: InTime, *, connections: int) -> None:
        self._time = time
        self._connections = connections
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}
        self._proxies: dict[tuple[bytes, bytes, int | None], str | None] = {}  # by scheme, host and port
        self._lock = Lock()

    @contextmanager
    def send(self, request: OutgoingRequest) -> Iterator[Response]:
        """See Transport."""
        timeout = {**request.timeout, "pool": self._time.left(request.timeout.get("pool"))}
        answer = self._pool(request.url).handle_request(
            httpcore.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content or None,
                extensions={"timeout": timeout},
            )
        )
        try:
            assert isinstance(answer.stream, Iterable)
            yield Response(answer.status, answer.headers, answer.stream)
        finally:
            answer.close()

    def close(self) -> None:
        with self._lock:
            while self._pools:
                self._pools.popitem()[1].close()

    def _pool(self, url: httpcore.URL) -> httpcore.ConnectionPool:
        server = url.scheme, url.host, url.port
        with self._lock:
            if server not in self._proxies:
                self._proxies[server] = proxy_of(url.scheme.decode(), url.host.decode(), url.port)
            proxy = self._proxies[server]
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
            raise httpcore.UnsupportedProtocol("the proxy does not speak HTTP")
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


class HttpxTransport:
    """Sends requests through a given transport of httpx, as tests do."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    @contextmanager
    def send(self, request: OutgoingRequest) -> Iterator[Response]:
        """See Transport."""
        try:
            answer = self._transport.handle_request(
                httpx.Request(
                    request.method,
                    bytes(request.url).decode("ascii"),
                    headers=list(request.headers),
                    content=request.content,
                    extensions={"timeout": dict(request.timeout)},
                )
            )
            try:
                assert isinstance(answer.stream, Iterable)
                yield Response(answer.status_code, answer.headers.raw, answer.stream)
            finally:
                answer.close()
        except httpx.TransportError as error:
            raise getattr(httpcore, type(error).__name__)(str(error)) from error

    def close(self) -> None:
        self._transport.close()
