"""A mail server that drips or never stops: the job that sends mail ends in time, and what it heard is bounded."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Callable

import pytest

from grants.notifications import smtp
from tests.private_ca import accepting

type Manner = Callable[[socket.socket], None]


def drips(peer: socket.socket) -> None:
    peer.sendall(b"220 ")
    for _ in range(400):
        peer.sendall(b"a")
        time.sleep(0.05)


def silent(peer: socket.socket) -> None:
    peer.recv(1)
    time.sleep(20)


def endless(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"220-and more\r\n" * 100)


def one_line(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"a" * 10_000)


def backend(port: int) -> smtp.EmailBackend:
    return smtp.EmailBackend(alias="default", host="127.0.0.1", port=port, timeout=10)


@pytest.mark.parametrize("manner", [drips, silent])
def test_a_delivery_ends_in_time(manner: Manner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "SECONDS", 0.3)
    with accepting(manner) as port:
        begun = time.monotonic()
        with pytest.raises(smtplib.SMTPServerDisconnected, match=r"timed out|do not end"):
            backend(port).open()
        assert time.monotonic() - begun < 8  # of the ten that each byte had


@pytest.mark.parametrize("manner", [endless, one_line])
def test_what_never_ends_is_not_kept(manner: Manner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "SECONDS", 300.0)
    with accepting(manner) as port, pytest.raises((smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException)):
        backend(port).open()


def test_replies_are_read_line_by_line() -> None:
    """In whatever pieces they come."""
    said = []

    def server(peer: socket.socket) -> None:
        for piece in (b"22", b"0 mail\r", b"\n"):
            peer.sendall(piece)
            time.sleep(0.02)
        said.append(peer.recv(100))
        peer.sendall(b"250-mail\r\n250-PIPELINING\r\n250 SIZE 1000\r\n")
        said.append(peer.recv(100))
        peer.sendall(b"221 bye\r\n")

    with accepting(server) as port:
        connection = smtp._Smtp("127.0.0.1", port, timeout=10)
        assert connection.ehlo()[0] == 250
        assert connection.esmtp_features == {"pipelining": "", "size": "1000"}
        connection.quit()
