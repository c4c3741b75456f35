"""HTTP calls to servers that Stint does not run: limited in time, size and tries, with three kinds of error."""

from __future__ import annotations

import base64
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from json import dumps, loads
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpcore
import httpx

from grants.adapters.errors import AdapterError, Missing, Refused, Unavailable, Unreadable
from grants.adapters.in_time import InTime
from grants.adapters.secrets import NoSecret
from grants.adapters.transport import HttpxTransport, OutgoingRequest, PooledTransport, Response, Transport

TIMEOUT = httpx.Timeout(10, connect=3, pool=3)  # seconds of silence
ANSWER_SECONDS = 30.0  # for one whole exchange, so that a server that sends byte by byte cannot hold us
ANSWER_BYTES = 32 * 1024 * 1024  # of a body; compressed answers are refused
TRIES = 3
PAUSE = 0.25  # seconds before the second try, four times as long before the third
RETRY_AFTER = 5.0  # seconds; a longer Retry-After of a server is cut to this

_OAUTH_WORDS = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope")

_OTHER_HOST = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and IP_ADDRESS_MISMATCH, whose words name the host


_PLAIN = re.compile(r"/?{0}(?:/{0})*".format(r"(?:[\w~-]|%[0-9A-F]{2})(?:[\w.~-]|%[0-9A-F]{2})*"), re.ASCII)  # a path
_WITH_BODY = {"POST", "PUT", "PATCH"}
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpcore.UnsupportedProtocol)


class _Again(Exception):
    """A failure after which a second try may succeed; `after` is the server's Retry-After in seconds, if any."""

    def __init__(self, failure: AdapterError, after: float | None = None) -> None:
        self.failure = failure
        self.after = after


class Http:
    """One outside server. `who` names it in the reasons of errors; addresses and headers never appear there.

    Keeps a pool of connections: close it, or use it in a `with`.
    """

    def __init__(
        self,
        base: str,
        *,
        who: str,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        answer_seconds: float = ANSWER_SECONDS,
        answer_bytes: int | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        tries: int = TRIES,
        connections: int = 4,
    ) -> None:
        """Raises Refused for a base that is not http(s) or carries a password."""
        _check(base, who)
        self.who = who
        self._sleep = sleep
        self._answer_seconds = answer_seconds
        self._answer_bytes = answer_bytes or ANSWER_BYTES
        self._tries = tries
        self._time = InTime()
        self._timeout = timeout.as_dict()
        self._base = httpx.URL(base)
        self._server = _server(self._base)
        self._below = self._base.raw_path.rstrip(b"/") + b"/"
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "stint",
            **_lower(headers),
        }
        # The environment is read for proxies alone: credentials from a netrc file are never used.
        pooled = PooledTransport(self._time, connections=connections)
        self._transport: Transport = HttpxTransport(transport) if transport else pooled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the JSON at `path`, with retries. Raises Unavailable, Missing or Refused."""
        return self._read("GET", path, params=params)

    def query(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a POST that only reads, with retries. Raises as `get` does."""
        return self._read("POST", path, json=body)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        **content: Any,
    ) -> Any:
        """Send one request, without retries. Returns the JSON answer, None when it is empty. Raises as `get` does.

        `seconds` limits the whole exchange when the caller has less time left than usual.
        """
        try:
            return self._once(method, path, {"headers": headers, **content}, empty=True, seconds=seconds)
        except _Again as again:
            raise again.failure from None

    def _read(self, method: str, path: str, **content: Any) -> Any:
        for left in range(self._tries - 1, -1, -1):
            try:
                return self._once(method, path, content)
            except _Again as again:
                if not left:
                    raise again.failure from None
                pause = PAUSE * 4 ** (self._tries - 1 - left) * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
                self._sleep(min(RETRY_AFTER, again.after) if again.after is not None else pause)
        raise AssertionError("unreachable")

    def _once(
        self, method: str, path: str, content: Mapping[str, Any], *, empty: bool = False, seconds: float | None = None
    ) -> Any:
        seconds = self._answer_seconds if seconds is None else min(seconds, self._answer_seconds)
        until = time.monotonic() + seconds
        try:
            request = self._request(method, path, **content)
            with self._time.within(seconds), self._transport.send(request) as answer:
                self._judge(answer, path, until)
                body = self._body(answer, until)
        except httpcore.TimeoutException as error:
            late = Unavailable(f"{self.who} did not answer in time.")
            if isinstance(error, httpcore.ConnectTimeout):
                raise _Again(late) from None
            raise late from None
        except (httpcore.ConnectError, httpcore.RemoteProtocolError, httpcore.ReadError) as error:
            raise _Again(Unavailable(self._why_not_reached(error))) from None
        except (*_FAILURES, httpx.InvalidURL, UnicodeError):  # the text of these errors can quote headers
            raise Unavailable(f"{self.who} cannot be reached.") from None
        if empty and not body:
            return None
        try:
            return loads(body)
        except (ValueError, RecursionError):  # the text of a ValueError quotes the answer
            raise Unreadable(f"{self.who} answered something that is not JSON.") from None

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        data: Mapping[str, str] | None = None,
    ) -> OutgoingRequest:
        """Build the request, with `json` or a form (`data`) as its body. `path` may also be a whole URL."""
        url, host = self._url(path)
        if params:
            query = urlencode(params).encode()
            url.target += (b"&" if b"?" in url.target else b"?") + query
        named = {"host": host, **self._headers, **_lower(headers)}
        content = b""
        if json is not None:
            named["content-type"] = "application/json"
            content = dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        elif data is not None:
            named["content-type"] = "application/x-www-form-urlencoded"
            content = urlencode(data).encode()
        if content or method in _WITH_BODY:
            named["content-length"] = str(len(content))
        return OutgoingRequest(
            method,
            url,
            [(name.encode("ascii"), value.encode("ascii")) for name, value in named.items()],
            content,
            self._timeout,
        )

    def _url(self, path: str) -> tuple[httpcore.URL, str]:
        """The URL of `path` below our base, or `path` itself when it is a whole URL; and the Host header for it."""
        url, target = self._base, self._below + path.removeprefix("/").encode()
        if not _PLAIN.fullmatch(path):  # the URL parser of httpx takes longer than everything else in a call
            given = httpx.URL(path)
            url = self._base if given.is_relative_url else given
            target = given.raw_path
            if given.is_relative_url:
                target = self._base.copy_with(raw_path=self._below + target.lstrip(b"/")).raw_path
        scheme, name, port, host = self._server if url is self._base else _server(url)
        return httpcore.URL(scheme=scheme, host=name, port=port, target=target), host

    def _why_not_reached(self, error: Exception) -> str:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = "it is for another host" if cause.verify_code in _OTHER_HOST else cause.verify_message
                return f"The certificate of {self.who} is not trusted: {why}."
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpcore.ConnectError):
            return f"{self.who} cannot be reached."
        return f"{self.who} broke the connection off."

    def _judge(self, answer: Response, path: str, until: float) -> None:
        """Raise the kind of error that an answer other than 2xx means; its text is never part of the error."""
        code = answer.code
        if 200 <= code < 300:
            return
        if code in {404, 410}:
            raise Missing(f"{self.who} has nothing at {path} ({code}).", code)
        if code in {401, 403}:
            raise Refused(f"{self.who} refused Stint's credentials ({code}).", code, self._word(answer, until))
        if 300 <= code < 400:
            raise Refused(f"{self.who} answers with a redirect ({code}) where its API should be; check its url.")
        if code == 429:
            raise _Again(Unavailable(f"{self.who} asks Stint to slow down (429).", code), _retry_after(answer))
        if code == 503:
            raise _Again(Unavailable(f"{self.who} is not available (503).", code), _retry_after(answer))
        if code >= 500 or code in {408, 425}:
            raise Unavailable(f"{self.who} failed ({code}).", code)
        raise Refused(f"{self.who} does not take the request ({code}).", code)

    def _word(self, answer: Response, until: float) -> str:
        """The OAuth error code in the answer; "" for any other text, which may quote what we sent."""
        try:
            said = loads(self._body(answer, until))
        except (ValueError, RecursionError):
            return ""
        word = said.get("error") if isinstance(said, dict) else None
        return word if word in _OAUTH_WORDS else ""

    def _body(self, answer: Response, until: float) -> bytes:
        if answer.header(b"content-encoding").lower() not in {b"", b"identity"}:
            # A few compressed bytes can unpack to gigabytes before their size is known.
            raise Unreadable(f"{self.who} compresses its answers, though it was asked not to.")
        body = bytearray()
        for chunk in answer.body:
            body += chunk
            if len(body) > self._answer_bytes:
                raise Unreadable(f"{self.who} sent more than {self._answer_bytes / 2**20:g} MiB in one answer.")
            if time.monotonic() > until:
                raise Unavailable(f"{self.who} did not finish its answer in time.")
        return bytes(body)


def _check(base: str, who: str) -> None:
    try:
        parts = urlsplit(base)
        usable = parts.scheme in {"http", "https"} and bool(httpx.URL(base).host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise Refused(f"The URL of {who} is not an http or https URL.")
    if "@" in parts.netloc:  # the password would show in logs
        raise Refused(f"The URL of {who} carries a user name or password; a secret is given by reference.")


def _retry_after(answer: Response) -> float | None:
    """The seconds that the server asks to wait; None for a date or anything else, then our own pause applies."""
    value = answer.header(b"retry-after")
    return float(value) if value.isdigit() and len(value) < 10 else None


def _server(url: httpx.URL) -> tuple[bytes, bytes, int | None, str]:
    return url.raw_scheme, url.raw_host, url.port, url.netloc.decode("ascii")


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def basic(secret: str) -> dict[str, str]:
    """Return the header for `user:password`."""
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


def bearer(secret: str) -> dict[str, str]:
    """Return the header for a token. Raises NoSecret when a header cannot hold it."""
    if not secret.isascii() or not secret.isprintable():  # else an error of the HTTP client would quote the secret
        raise NoSecret("The secret has characters that cannot stand in an HTTP header.")
    return {"Authorization": f"Bearer {secret}"}
