"""Django's SMTP backend with a deadline for a whole delivery and the certificate authorities that Stint trusts."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from functools import cached_property
from typing import Any, override

from django.core.mail.backends import smtp

from grants.adapters import trust

SECONDS = 20.0  # for one mail; less than the time that a transaction may be idle
REPLY_BYTES = 64 * 1024


class _Replies:
    """Reads a server's replies with a limit on time and size. smtplib waits ten seconds for each byte, without end."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until
        self._buffer = b""
        self._left = REPLY_BYTES

    def readline(self, limit: int) -> bytes:
        while b"\n" not in self._buffer[:limit] and len(self._buffer) < limit:
            patience = self._sock.gettimeout()
            try:
                self._sock.settimeout(max(0.001, self._until - time.monotonic()))
                piece = self._sock.recv(4096)
            finally:
                self._sock.settimeout(patience)
            if not piece:
                break
            self._left -= len(piece)
            if self._left < 0 or time.monotonic() > self._until:
                raise TimeoutError("the mail server's replies do not end")
            self._buffer += piece
        line = self._buffer[: self._buffer.find(b"\n") + 1 or limit][:limit]
        self._buffer = self._buffer[len(line) :]
        return line

    def close(self) -> None:
        """Do nothing: smtplib closes the socket."""


class _InTime:
    """Adds the deadline to smtplib's classes."""

    file: Any
    sock: Any

    def __init__(self, *given: Any, **more: Any) -> None:
        self._until = time.monotonic() + SECONDS
        super().__init__(*given, **more)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = _Replies(self.sock, self._until)
        reply: tuple[int, bytes] = super().getreply()  # type: ignore[misc]
        return reply


class _Smtp(_InTime, smtplib.SMTP):
    pass


class _Smtps(_InTime, smtplib.SMTP_SSL):
    pass


class EmailBackend(smtp.EmailBackend):
    """Django's backend, with the connections above."""

    @property
    @override
    def connection_class(self) -> type[smtplib.SMTP]:
        return _Smtps if self.use_ssl else _Smtp

    @cached_property
    @override
    def ssl_context(self) -> ssl.SSLContext:
        return trust.made()
