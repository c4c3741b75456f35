"""What stands before the pages: no thread waits for who sends, or for who reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from portal import front
from portal.front import Front, Message

THREADS = 2
FORM = [(b"content-type", front.FORM), (b"content-length", b"3")]


def page(environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    """A page that tells what it was sent, and its cookies."""
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(), b"|", str(environ.get("HTTP_COOKIE", "")).encode()]  # type: ignore[attr-defined]


async def call(
    served: Front,
    receive: Callable[[], Awaitable[Message]] | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> tuple[int, bytes]:
    """What somebody hears."""
    heard: list[Message] = []

    async def send(message: Message) -> None:
        heard.append(message)

    scope: Message = {
        "type": "http", "method": "POST" if receive else "GET", "path": "/page", "query_string": b"", "http_version": "1.1",
        "headers": headers if headers is not None else FORM if receive else [],
    }  # fmt: skip
    await served(scope, receive or silent, send)
    return heard[0]["status"], b"".join(message.get("body", b"") for message in heard)


async def silent() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def at_once() -> Message:
    return {"type": "http.request", "body": b"a=b", "more_body": False}


def in_time[T](work: Awaitable[T]) -> T:
    async def run() -> T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(run())


def test_who_sends_slowly_holds_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: a body that is awaited in receive(), in its thread's time."""
    monkeypatch.setattr(front, "SECONDS", 3600)

    async def work() -> None:
        served = Front(page, threads=THREADS)
        slow = [asyncio.create_task(call(served, silent)) for _ in range(THREADS * 3)]
        await asyncio.sleep(0)
        assert await call(served) == (200, b"|")
        assert await call(served, at_once) == (200, b"a=b|")
        assert not any(one.done() for one in slow)
        for one in slow:
            one.cancel()

    in_time(work())


def test_it_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SECONDS", 0.01)
    status, text = in_time(call(Front(page, threads=THREADS), silent))
    assert (status, text[:30]) == (408, b"This did not arrive in time. T")


def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many send slowly, so many bodies are in memory, and who sends at once is heard."""
    monkeypatch.setattr(front, "SECONDS", 3600)
    monkeypatch.setattr(front, "AT_ONCE", 3)

    async def work() -> None:
        served = Front(page, threads=THREADS)
        slow = [asyncio.create_task(call(served, silent)) for _ in range(8)]
        assert [(await one)[0] for one in slow[:5]] == [408] * 5
        assert len(served._bodies._awaited) == 3
        assert await call(served, at_once) == (200, b"a=b|")
        assert (await slow[5])[0] == 408
        assert len(served._bodies._awaited) == 2
        assert not any(one.done() for one in slow[6:])
        for one in slow[6:]:
            one.cancel()

    in_time(work())


def test_half_a_body_is_none() -> None:
    async def ended() -> Message:
        return {"type": "http.disconnect"}

    assert in_time(call(Front(page, threads=THREADS), ended))[0] == 408


def test_who_reads_slowly_holds_no_thread() -> None:
    """Fault: a queue between thread and connection that has an end."""
    heard = asyncio.Event()

    def long(_environ: object, start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"x"] * 1000

    async def deaf(_message: Message) -> None:
        await heard.wait()

    async def work() -> None:
        served = Front(long, threads=THREADS)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "http_version": "1.1",
            "headers": [],
        }
        slow = [asyncio.create_task(served(dict(scope), silent, deaf)) for _ in range(THREADS * 3)]
        await asyncio.sleep(0)
        status, text = await call(served)
        assert (status, len(text)) == (200, 1000)
        heard.set()
        await asyncio.gather(*slow)

    in_time(work())


def test_cookies_that_come_one_by_one_are_all_read() -> None:
    headers = [(b"cookie", b"a=1"), (b"x_forwarded_for", b"1.2.3.4"), (b"cookie", b"b=2")]
    assert in_time(call(Front(page, threads=THREADS), None, headers)) == (200, b"|a=1; b=2")
