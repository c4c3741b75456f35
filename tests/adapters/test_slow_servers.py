"""Servers that are slow on purpose, on real sockets: each call ends when it should, whatever dribbles in."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from grants.adapters import in_time
from grants.adapters.errors import AdapterError, Unavailable, Unreadable
from grants.adapters.http import Http

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BOMB = gzip.compress(bytes(64 * 2**20), 1)
type Manner = Callable[[socket.socket], None]


@contextmanager
def serving(manner: Manner, asked: Callable[[bytes], object] = len) -> Iterator[str]:
    """A server that treats every connection in this manner."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def treat(peer: socket.socket) -> None:
        with peer:
            try:
                while not over.is_set() and (request := peer.recv(65536)):
                    asked(request)
                    manner(peer)
            except OSError:
                pass  # the client has gone, as it should

    def accept() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def drip(peer: socket.socket, what: bytes) -> None:
    for n in range(200):
        peer.sendall(what[n : n + 1] or b"a")
        time.sleep(0.05)


def silent(_peer: socket.socket) -> None:
    time.sleep(10)


def head(peer: socket.socket) -> None:
    drip(peer, HEAD + b"X: ")


def body(peer: socket.socket) -> None:
    peer.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    drip(peer, b'{"a": "')


def chunks(peer: socket.socket) -> None:
    peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    drip(peer, b"1\r\n[\r\n" * 40)


def flood(peer: socket.socket, first: bytes, again: bytes) -> None:
    """As fast as it is taken, so that no single wait is ever long."""
    peer.sendall(first)
    while True:
        peer.sendall(again * 100)


def continues(peer: socket.socket) -> None:
    flood(peer, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def extensions(peer: socket.socket) -> None:
    flood(peer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 1000 + b"\r\n \r\n")


def headers(peer: socket.socket) -> None:
    flood(peer, HEAD, b"X-Again: and again\r\n")


def spaces(peer: socket.socket) -> None:
    flood(peer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b" " * 1000 + b"\r\n")


def packed(peer: socket.socket, body: bytes, encoding: bytes) -> None:
    head = HEAD + b"Content-Encoding: " + encoding + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    peer.sendall(head + body)


def bomb(peer: socket.socket) -> None:
    packed(peer, BOMB, b"gzip")


def double_bomb(peer: socket.socket) -> None:
    packed(peer, gzip.compress(BOMB), b"gzip, gzip")


def cut(peer: socket.socket) -> None:
    peer.sendall(HEAD + b'Content-Length: 100\r\n\r\n[{"id": "x"')
    peer.shutdown(socket.SHUT_WR)


def truncated(peer: socket.socket) -> None:
    peer.sendall(HEAD + b'Content-Length: 11\r\n\r\n[{"id": "x"')


@pytest.mark.parametrize("manner", [silent, head, body, chunks, continues, extensions])
@pytest.mark.parametrize("call", ["get", "send"])
def test_no_call_outlives_its_time(manner: Manner, call: str) -> None:
    """Each byte comes well within the time for one read; all of them together never would."""
    with serving(manner) as url, closing(Http(url, who="Keycloak", tries=1)) as http:
        begun = time.monotonic()
        http._answer_seconds = 0.4
        with pytest.raises(Unavailable, match="in time"):
            http.get("/x") if call == "get" else http.send("POST", "/x", json=[])
        assert time.monotonic() - begun < 5  # of the ten that it would take


@pytest.mark.parametrize("manner", [headers, spaces])
def test_what_never_ends_is_cut_off(manner: Manner) -> None:
    """By its length: in a minute it would still be going on."""
    with (
        serving(manner) as url,
        closing(Http(url, who="Keycloak", tries=1, answer_bytes=100_000, answer_seconds=60)) as http,
        pytest.raises(Unavailable) as caught,
    ):
        http.get("/x")
    assert "in time" not in caught.value.reason


@pytest.mark.parametrize("manner", [bomb, double_bomb])
def test_what_is_compressed_is_not_unpacked(manner: Manner) -> None:
    with (
        serving(manner) as url,
        closing(Http(url, who="Keycloak", tries=1)) as http,
        pytest.raises(Unreadable, match="compresses"),
    ):
        http.get("/x")


def test_no_compression_is_asked_for() -> None:
    seen = []

    def note(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with serving(note, seen.append) as url, closing(Http(url, who="Keycloak")) as http:
        http.get("/x")
    assert b"\r\naccept-encoding: identity\r\n" in seen[0].lower()


def test_a_handshake_ends_in_time() -> None:
    with serving(silent) as url, closing(Http(url.replace("http:", "https:"), who="Keycloak", tries=1)) as http:
        begun = time.monotonic()
        http._answer_seconds = 0.4
        with pytest.raises(Unavailable, match="in time"):
            http.get("/x")
        assert time.monotonic() - begun < 5


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    real = socket.getaddrinfo

    def hang(host: str, *given: object, **more: object) -> object:
        if host == "slow.test":
            over.wait(30)
        return real("127.0.0.1", *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(in_time, "_look_up", lambda host, flags=0: _numeric(host, flags) or hang(host, None))
    begun = time.monotonic()
    with (
        closing(Http("http://slow.test", who="Keycloak", tries=1, answer_seconds=0.3)) as http,
        pytest.raises(Unavailable, match="in time"),
    ):
        http.get("/x")
    over.set()
    assert time.monotonic() - begun < 10  # of thirty


def _numeric(_host: str, flags: int) -> None:
    if flags:
        raise socket.gaierror


def test_many_addresses_have_one_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be given the whole time-out: a name with thirty that do not answer took thirty times as long."""
    tried: list[str] = []

    def connect(_self: object, host: str, _port: int, timeout: float, *_: object) -> None:
        tried.append(host)
        time.sleep(timeout)
        raise in_time.httpcore.ConnectTimeout

    monkeypatch.setattr(in_time, "_look_up", lambda _host, _flags=0: [f"10.0.0.{n}" for n in range(30)])
    monkeypatch.setattr(in_time.httpcore.SyncBackend, "connect_tcp", connect)
    with (
        closing(Http("http://many.test", who="Keycloak", tries=1, answer_seconds=0.3)) as http,
        pytest.raises(Unavailable, match="in time"),
    ):
        http.get("/x")
    assert tried == ["10.0.0.0"]


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    monkeypatch.setattr(in_time, "_look_up", lambda _host, _flags=0: ["::1", "127.0.0.1"])
    with serving(answer) as url, closing(Http(url.replace("127.0.0.1", "two.test"), who="Keycloak")) as http:
        assert http.get("/x") == {}


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "..test", "xn--\u00e4.test", ".", "a..b"])
def test_a_name_that_is_none(host: str) -> None:
    with pytest.raises(AdapterError), closing(Http(f"http://{host}/", who="Keycloak", tries=1)) as http:
        http.get("/x")


@pytest.mark.parametrize("manner", [cut, truncated])
def test_half_an_answer_is_none(manner: Manner) -> None:
    with serving(manner) as url, closing(Http(url, who="Keycloak", tries=1)) as http, pytest.raises(AdapterError):
        http.get("/x")


def test_what_is_left_may_be_less_than_usual() -> None:
    with serving(head) as url, closing(Http(url, who="Keycloak")) as http, pytest.raises(Unavailable):
        begun = time.monotonic()
        try:
            http.send("GET", "/x", seconds=0.2)
        finally:
            assert time.monotonic() - begun < 5
