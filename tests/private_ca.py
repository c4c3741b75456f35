"""A certificate authority that nobody knows, and TLS by it in front of parts that have none of their own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_DAY = timedelta(days=1)
type Preface = Callable[[socket.socket], None]


class Authority:
    """Writes its own certificate to `file`, and makes those of servers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "private-ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A private authority")])
        may = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        own = (
            self._begun(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(may, critical=True)
        )
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def server(self, *names: str) -> ssl.SSLContext:
        """TLS of a server of these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A server")])
        certificate = (
            self._begun(subject, key)
            .add_extension(x509.SubjectAlternativeName(known), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        both = self.folder / f"{names[0]}.pem"
        both.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


@contextmanager
def accepting(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose every connection is treated so, in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))

    def one(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            treat(peer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listening.accept()
                threading.Thread(target=one, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@contextmanager
def in_front(context: ssl.SSLContext, port: int, preface: Preface | None = None) -> Iterator[int]:
    """TLS on a port of its own, passed on in the clear to `port` of this machine."""

    def treat(peer: socket.socket) -> None:
        if preface:
            preface(peer)
        with (
            context.wrap_socket(peer, server_side=True) as secret,
            socket.create_connection(("127.0.0.1", port)) as own,
        ):
            pass_on(secret, own)

    with accepting(treat) as there:
        yield there


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """What each says, to the other, until one of them has said all."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join()


def postgres_hello(peer: socket.socket) -> None:
    """SSLRequest, and the yes to it."""
    assert peer.recv(8) == (8).to_bytes(4) + (80877103).to_bytes(4)
    peer.sendall(b"S")


def proxy(seen: list[str], port: int) -> Callable[[socket.socket], None]:
    """An HTTP proxy's CONNECT, whatever is asked for: the way always ends at `port` of this machine."""

    def treat(peer: socket.socket) -> None:
        seen.append(peer.recv(65536).split(b"\r\n")[0].decode())
        with socket.create_connection(("127.0.0.1", port)) as own:
            peer.sendall(b"HTTP/1.1 200 yes\r\n\r\n")
            pass_on(peer, own)

    return treat


def mail_server(context: ssl.SSLContext, letters: list[bytes]) -> Callable[[socket.socket], None]:
    """Takes mail by STARTTLS alone."""

    def treat(peer: socket.socket) -> None:
        peer.sendall(b"220 mail\r\n")
        while line := _line(peer):
            if line.upper().startswith(b"STARTTLS"):
                peer.sendall(b"220 go\r\n")
                with context.wrap_socket(peer, server_side=True) as secret:
                    _take(secret, letters)
                return
            ehlo = line.upper().startswith(b"EHLO")
            peer.sendall(b"250-mail\r\n250 STARTTLS\r\n" if ehlo else b"530 STARTTLS first\r\n")

    return treat


def _take(talk: socket.socket, letters: list[bytes]) -> None:
    while line := _line(talk):
        if line.upper().startswith(b"DATA"):
            talk.sendall(b"354 go\r\n")
            letter = b""
            while not letter.endswith(b"\r\n.\r\n"):
                letter += talk.recv(65536)
            letters.append(letter)
        talk.sendall(b"250 fine\r\n")


def _line(talk: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (piece := talk.recv(1)):
        line += piece
    return line
