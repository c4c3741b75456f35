"""Requests to the orchestrators: one client for all, the gate's authorization, and failures as refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
import structlog
from multidict import CIMultiDict
from yarl import URL

from grants.adapters import trust
from grants.adapters.errors import Unavailable
from grants.adapters.proxies import proxy_of
from grants.adapters.secrets import resolve_secret
from grants.gate.bounds.aside import dumped, loaded
from grants.gate.decision.bodies import LARGEST_ANSWER
from grants.gate.decision.kinds import Kind, Lookups
from grants.gate.decision.limits import Limits
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.table import RouteTable
from grants.gate.decision.types import Code, Json, Refusal, Upstream

log = structlog.get_logger(__name__)

SECRET_SECONDS = 5.0  # a changed secret is seen after that, and at once when the orchestrator refuses the old one


class Unanswered(Exception):
    """The orchestrator gave no answer that can be passed on: 503, or 504 when it was silent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.why)
        self.refusal = refusal


class Secrets:
    """Secrets by reference, read again every few seconds so that a rotation needs no restart."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, str]] = {}

    def of(self, ref: str) -> str:
        """Raises Unavailable."""
        if not ref:
            return ""
        read_at, secret = self._known.get(ref, (float("-inf"), ""))
        if time.monotonic() - read_at > SECRET_SECONDS:
            secret = resolve_secret(ref)
            self._known[ref] = time.monotonic(), secret
        return secret

    def forget(self, ref: str) -> None:
        self._known.pop(ref, None)


class Client:
    """The HTTP client for all orchestrators. It decodes and normalises no target and follows no redirect."""

    def __init__(self, limits: Limits, *, scheme: str) -> None:
        self.limits, self.scheme = limits, scheme  # by which the gate itself is reached: "https"
        self.secrets = Secrets()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Below the 5 s of uvicorn: a POST on a connection that is being closed fails and is not sent again.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4, ssl=trust.context()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect, sock_read=self.limits.answer),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # netrc is not read; `proxy_to` has the proxy
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session, "entered first"
        return self._session


class Orchestrator:
    """One connection as the gate calls it: its address and the gate's authorization."""

    def __init__(self, client: Client, upstream: Upstream, kind: Kind) -> None:
        self.client, self.upstream = client, upstream
        # A canonical target begins with the API's prefix, or is beside it.
        self._base = upstream.url.removesuffix("/").removesuffix(kind.api)
        self._authorization = kind.authorize(_Entrance(self))

    def url_of(self, target: str) -> URL:
        """The URL of a target, in the spelling that was decided on."""
        return URL(self._base + target, encoded=True)

    async def authorization(self) -> Mapping[str, str]:
        """The headers that authorize the gate. Raises Unanswered."""
        try:
            return await self._authorization.headers()
        except (Unavailable, LookupFailed) as error:
            raise self._locked_out(error) from None

    async def sign_in(self) -> Json:
        """The gate's first message on a socket. Raises Unanswered."""
        try:
            return await self._authorization.sign_in()
        except (Unavailable, LookupFailed) as error:
            raise self._locked_out(error) from None

    def refused(self) -> Unanswered:
        """Take note of a 401, so that the same authorization is not shown again; give what to raise."""
        self._authorization.refused()
        log.error("upstream_refuses_the_gate", connection=self.upstream.slug)
        return Unanswered(_trouble())

    def _locked_out(self, error: Exception) -> Unanswered:
        reason = error.reason if isinstance(error, Unavailable) else str(error)
        log.error("no_authorization", connection=self.upstream.slug, error=reason)
        return Unanswered(_trouble())

    async def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        data: bytes | AsyncIterable[bytes] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request; give the answer with its body unread. Raises Unanswered."""
        answer = await self._sent(method, target, headers, data)
        if answer.status == 401:  # of the gate's authorization, not the caller's: a worker must not exit on it
            answer.close()
            raise self.refused()
        if answer.status < 200:
            answer.close()
            raise Unanswered(_trouble())
        return answer

    async def _sent(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | AsyncIterable[bytes] | None
    ) -> aiohttp.ClientResponse:
        try:
            url = self.url_of(target)
            return await self.client.session.request(
                method, url, headers=headers, data=data, allow_redirects=False, proxy=proxy_to(url)
            )
        except TimeoutError:
            raise Unanswered(Refusal(504, Code.UPSTREAM, why="The orchestrator does not answer.")) from None
        except (aiohttp.ClientError, OSError) as error:
            log.warning("upstream_failed", connection=self.upstream.slug, error=type(error).__name__)
            raise Unanswered(_trouble()) from None

    async def json(
        self,
        method: str,
        target: str,
        body: Json = None,
        *,
        headers: Mapping[str, str] | None = None,
        size: int = 0,
        authorized: bool = True,
    ) -> tuple[int, Json, int]:
        """Ask a question of the gate's; give status, JSON (None without a body) and bytes. Raises Unanswered.

        `size` is the number of bytes that the question was made from.
        """
        head: CIMultiDict[str] = CIMultiDict(headers or {})
        head.update({"Host": self.upstream.host, "X-Forwarded-Proto": self.client.scheme, "Accept": "application/json"})
        if authorized:
            head.update(await self.authorization())
        head["Accept-Encoding"] = "identity"
        data = None
        if body is not None:
            head["Content-Type"] = "application/json"
            data = await dumped(body, size)
        try:
            async with asyncio.timeout(self.client.limits.answer):  # for the whole answer, not for each piece
                answer = await self.send(method, target, headers=head, data=data)
                try:
                    raw = await whole(answer)
                finally:
                    answer.release()
        except TimeoutError:
            raise Unanswered(Refusal(504, Code.UPSTREAM, why="The orchestrator does not answer in time.")) from None
        try:
            return answer.status, await loaded(raw), len(raw)
        except ValueError:
            raise Unanswered(_trouble()) from None


class Asking(NamedTuple):
    """One orchestrator, as the lookups ask it."""

    orchestrator: Orchestrator

    async def json(self, method: str, target: str, body: Json = None) -> tuple[int, Json]:
        try:
            status, said, _ = await self.orchestrator.json(method, target, body)
        except Unanswered as error:
            raise LookupFailed(error.refusal.why) from error
        return status, said


class _Entrance(NamedTuple):
    """One orchestrator, as its kind's authorization sees it."""

    orchestrator: Orchestrator

    def secret(self) -> str:
        return self.orchestrator.client.secrets.of(self.orchestrator.upstream.secret_ref)

    def forget_secret(self) -> None:
        self.orchestrator.client.secrets.forget(self.orchestrator.upstream.secret_ref)

    async def ask(
        self, method: str, target: str, body: Json = None, *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        try:
            status, said, _ = await self.orchestrator.json(method, target, body, headers=headers, authorized=False)
        except Unanswered as error:
            raise LookupFailed(error.refusal.why) from error
        return status, said


class Served(NamedTuple):
    """One connection, and everything that the gate has for it."""

    upstream: Upstream
    kind: Kind
    table: RouteTable
    lookups: Lookups
    orchestrator: Orchestrator


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer's body. Raises Unanswered where it breaks off, stops, or is longer than LARGEST_ANSWER."""
    pieces, size = [], 0
    try:
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > LARGEST_ANSWER:
                answer.close()
                raise Unanswered(Refusal(503, Code.UPSTREAM, why="The orchestrator's answer is too long."))
            pieces.append(piece)
    except TimeoutError:
        raise Unanswered(Refusal(504, Code.UPSTREAM, why="The orchestrator stopped in mid-answer.")) from None
    except (aiohttp.ClientError, OSError):
        raise Unanswered(_trouble()) from None
    return b"".join(pieces)


def proxy_to(url: URL) -> str | None:
    """The proxy of the environment, for an orchestrator that is not on this machine."""
    return proxy_of(url.scheme.replace("ws", "http"), url.host or "", url.port)


def _trouble() -> Refusal:
    return Refusal(503, Code.UPSTREAM, why="The orchestrator cannot be reached.")
