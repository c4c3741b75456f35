"""An OpenID provider that tells the truth until it is told to lie: a real server on a real socket."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

type Json = dict[str, Any]

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: rsa.RSAPrivateKey, kid: str | None = "k1", **more: str) -> Json:
    numbers = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {**numbers, "alg": "RS256", "use": "sig", **({"kid": kid} if kid else {}), **more}


class Provider:
    """Each attribute that is set is a lie, or a trouble."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.calls: list[str] = []
        self.truth()

    def truth(self) -> None:
        self.person: Json = {
            "sub": "sub-ada", "preferred_username": "ada", "name": "Ada Okafor", "email": "ada@example.org",
            "email_verified": True, "groups": ["ingest"],
        }  # fmt: skip
        self.claims: Json = {}  # laid over the ID token's; None takes one away
        self.info: Json = {}  # laid over the userinfo answer's
        self.header: Json = {"kid": "k1"}
        self.sign: Callable[[Json], object] = lambda claims: jwt.encode(claims, KEY, "RS256", headers=self.header)
        self.keys: object = {"keys": [jwk(KEY)]}
        self.discovery: Json = {}
        self.answers: dict[str, tuple[int, bytes]] = {}  # path -> status, body
        self.nonce = self.challenge = ""
        self.form: Json = {}

    def asked(self, nonce: str, challenge: str) -> None:
        self.nonce, self.challenge = nonce, challenge

    def answer(self, path: str, form: Json) -> tuple[int, bytes]:
        self.calls.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo",
                     "jwks_uri": "jwks", "end_session_endpoint": "logout"}  # fmt: skip
            document = {name: f"{self.issuer}/{path}" for name, path in names.items()}
            return 200, json.dumps({"issuer": self.issuer, **document, **self.discovery}).encode()
        if path == "/jwks":
            return 200, json.dumps(self.keys).encode()
        if path == "/token":
            return self._token(form)
        if path == "/userinfo":
            return 200, json.dumps(_laid({**self.person}, self.info)).encode()
        return 404, b"{}"

    def _token(self, form: Json) -> tuple[int, bytes]:
        self.form = form
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge:
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "stint",
            "exp": now + 300,
            "iat": now,
            "nonce": self.nonce,
            **self.person,
        }
        token = self.sign(_laid(claims, self.claims))
        return 200, json.dumps({"id_token": token, "access_token": "at", "token_type": "Bearer"}).encode()


def _laid(over: Json, lies: Json) -> Json:
    return {name: value for name, value in {**over, **lies}.items() if value is not None}


@contextmanager
def running() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._give({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._give({name: values[0] for name, values in parse_qs(body).items()})

        def _give(self, form: Json) -> None:
            status, body = provider.answer(self.path.partition("?")[0], form)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = Provider(server.server_port)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()


def public_pem() -> bytes:
    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
