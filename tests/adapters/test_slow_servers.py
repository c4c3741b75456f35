"""Servers that are slow on purpose, on real sockets: each call ends when it should, whatever dribbles in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from grants.adapters.errors import AdapterError, Unavailable
from grants.adapters.http import Http

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
type Manner = Callable[[socket.socket], None]


@contextmanager
def serving(manner: Manner) -> Iterator[str]:
    """A server that treats every connection in this manner."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def treat(peer: socket.socket) -> None:
        with peer:
            try:
                while not over.is_set() and peer.recv(65536):
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


def cut(peer: socket.socket) -> None:
    peer.sendall(HEAD + b'Content-Length: 100\r\n\r\n[{"id": "x"')
    peer.shutdown(socket.SHUT_WR)


def truncated(peer: socket.socket) -> None:
    peer.sendall(HEAD + b'Content-Length: 11\r\n\r\n[{"id": "x"')


@pytest.mark.parametrize("manner", [silent, head, body, chunks])
@pytest.mark.parametrize("call", ["get", "send"])
def test_no_call_outlives_its_time(manner: Manner, call: str) -> None:
    """Each byte comes well within the time for one read; all of them together never would."""
    with serving(manner) as url, closing(Http(url, who="Keycloak", tries=1)) as http:
        begun = time.monotonic()
        http._answer_seconds = 0.4
        with pytest.raises(Unavailable, match="in time"):
            http.get("/x") if call == "get" else http.send("POST", "/x", json=[])
        assert time.monotonic() - begun < 5  # of the ten that it would take


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
