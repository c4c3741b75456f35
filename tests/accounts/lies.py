"""What a provider can lie about at a sign-in, and the code that says so."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from tests.accounts.op import KEY, STRANGE_KEY, Provider, jwk, public_pem

NOW = int(time.time())
type Lie = Callable[[Provider], None]


def claims(**lies: object) -> Lie:
    return lambda op: op.claims.update(lies)


def info(**lies: object) -> Lie:
    return lambda op: op.info.update(lies)


def keys(*listed: object) -> Lie:
    return lambda op: setattr(op, "keys", {"keys": list(listed)})


def token(make: Callable[[dict[str, object]], object]) -> Lie:
    return lambda op: setattr(op, "sign", make)


def says(path: str, status: int, body: bytes) -> Lie:
    return lambda op: op.answers.update({path: (status, body)})


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(secret: bytes) -> Callable[[dict[str, object]], str]:
    def sign(body: dict[str, object]) -> str:
        # PyJWT refuses to sign with a public key, so the attacker's token is made by hand.
        signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'k1'}).encode())}.{b64(json.dumps(body).encode())}"
        return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    return sign


def header(**lies: str) -> Lie:
    return lambda op: op.header.update(lies)


def weak(op: Provider) -> None:
    """A key of 1,024 bits. PyJWT warns of it, so the token is signed by hand."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    keys(jwk(key))(op)

    def sign(body: dict[str, object]) -> str:
        told = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k1"}, body))
        return f"{told}.{b64(key.sign(told.encode(), PKCS1v15(), SHA256()))}"

    op.sign = sign


LIES: dict[str, tuple[Lie, str]] = {
    "iss of another": (claims(iss="https://evil.example"), "ISS_MISMATCH"),
    "iss missing": (claims(iss=None), "ISS_MISMATCH"),
    "iss with a slash more": (lambda op: op.claims.update(iss=op.issuer + "/"), "ISS_MISMATCH"),
    "aud of another": (claims(aud="other"), "AUD_MISMATCH"),
    "aud missing": (claims(aud=None), "AUD_MISMATCH"),
    "aud and iss missing": (claims(aud=None, iss=None), "ISS_MISMATCH"),
    "aud an empty list": (claims(aud=[]), "AUD_MISMATCH"),
    "aud a number": (claims(aud=7), "AUD_MISMATCH"),
    "aud several, no azp": (claims(aud=["stint", "other"]), "AZP_MISMATCH"),
    "aud several, azp of another": (claims(aud=["stint", "other"], azp="other"), "AZP_MISMATCH"),
    "azp of another": (claims(azp="other"), "AZP_MISMATCH"),
    "exp missing": (claims(exp=None), "CLAIM_MISSING"),
    "exp a word": (claims(exp="tomorrow"), "CLAIM_MISSING"),
    "exp true": (claims(exp=True), "CLAIM_MISSING"),
    "exp endless": (claims(exp=1e300), "CLAIM_MISSING"),
    "expired": (claims(exp=NOW - 100), "EXPIRED"),
    "iat missing": (claims(iat=None), "CLAIM_MISSING"),
    "iat in the future": (claims(iat=NOW + 3600), "IAT_FUTURE"),
    "nbf in the future": (claims(nbf=NOW + 3600), "NBF_FUTURE"),
    "nbf a word": (claims(nbf="now"), "NBF_FUTURE"),
    "nonce of another": (claims(nonce="other"), "NONCE_MISMATCH"),
    "nonce missing": (claims(nonce=None), "NONCE_MISMATCH"),
    "nonce a number": (claims(nonce=7), "NONCE_MISMATCH"),
    "sub missing": (claims(sub=None), "SUB_MISSING"),
    "sub empty": (claims(sub=""), "SUB_MISSING"),
    "sub a number": (claims(sub=7), "SUB_MISSING"),
    "sub too long": (claims(sub="x" * 300), "SUB_MISSING"),
    "sub with a NUL": (claims(sub="sub-ada\0"), "SUB_MISSING"),
    "sub with half a pair": (claims(sub="sub-\ud800"), "SUB_MISSING"),
    "sub with a blank at its end": (claims(sub="sub-ada "), "SUB_MISSING"),
    "nonce with half a pair": (claims(nonce="\ud800"), "NONCE_MISMATCH"),
    "userinfo with half a pair": (info(sub="\ud800"), "SUB_MISMATCH"),
    "userinfo of a number": (info(sub=7), "SUB_MISMATCH"),
    "at_hash of another": (claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "AT_HASH_MISMATCH"),
    "at_hash a number": (claims(at_hash=7), "AT_HASH_MISMATCH"),
    "typ of an access token": (header(typ="at+jwt"), "TYP_MISMATCH"),
    "typ of a logout token": (header(typ="application/logout+jwt"), "TYP_MISMATCH"),
    "typ of Keycloak's access token": (claims(typ="Bearer"), "TYP_MISMATCH"),
    "typ of Keycloak's logout token": (claims(typ="Logout"), "TYP_MISMATCH"),
    "a weak key": (weak, "KEY_WEAK"),
    "a private key": (keys({**jwt.algorithms.RSAAlgorithm.to_jwk(KEY, as_dict=True), "kid": "k1"}), "KEY_BAD"),
    "an endless key": (keys(jwk(KEY, n="x" * 100_000)), "KEY_BAD"),
    "userinfo of another": (info(sub="sub-priya"), "SUB_MISMATCH"),
    "userinfo of nobody": (info(sub=None), "SUB_MISMATCH"),
    "alg none": (token(lambda body: jwt.encode(body, None, "none")), "ALG_NOT_ALLOWED"),
    "alg HS256 with the public key": (token(hs256(public_pem())), "ALG_NOT_ALLOWED"),
    "alg HS256 with the client secret": (token(hs256(b"only-for-tests")), "ALG_NOT_ALLOWED"),
    "alg RS512": (
        token(lambda body: jwt.encode(body, KEY, "RS512", headers={"kid": "k1"})),
        "ALG_NOT_ALLOWED",
    ),
    "a stranger's key": (
        token(lambda body: jwt.encode(body, STRANGE_KEY, "RS256", headers={"kid": "k1"})),
        "SIG_BAD",
    ),
    "a stranger's key in the header": (
        token(
            lambda body: jwt.encode(body, STRANGE_KEY, "RS256", headers={"kid": "k2", "jwk": jwk(STRANGE_KEY, "k2")})
        ),
        "KID_UNKNOWN",
    ),
    "crit": (
        token(lambda body: jwt.encode(body, KEY, "RS256", headers={"kid": "k1", "crit": ["x"], "x": 1})),
        "MALFORMED",
    ),
    "kid unknown": (token(lambda body: jwt.encode(body, KEY, "RS256", headers={"kid": "k9"})), "KID_UNKNOWN"),
    "no keys": (keys(), "KID_UNKNOWN"),
    "a key for encryption": (keys(jwk(KEY, use="enc")), "KID_UNKNOWN"),
    "a key of another algorithm": (keys(jwk(KEY, alg="ES256")), "KID_UNKNOWN"),
    "a symmetric key": (keys({"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}), "KID_UNKNOWN"),
    "two keys of one id": (keys(jwk(KEY), jwk(STRANGE_KEY)), "KID_AMBIGUOUS"),
    "a key without its parts": (keys({"kty": "RSA", "kid": "k1"}), "KEY_BAD"),
    "keys that are none": (keys("x", 7), "PROVIDER_ANSWER"),
    "no key set": (lambda op: setattr(op, "keys", {"no": "keys"}), "PROVIDER_ANSWER"),
    "no ID token": (token(lambda _: None), "MALFORMED"),
    "an ID token of dots": (token(lambda _: "a.b.c"), "MALFORMED"),
    "an ID token that is a list": (token(lambda _: ["x"]), "MALFORMED"),
    "a huge ID token": (token(lambda _: "x" * 100_000), "MALFORMED"),
    "token: 500": (says("/token", 500, b"oops"), "PROVIDER_DOWN"),
    "token: 400": (says("/token", 400, b'{"error": "invalid_grant"}'), "PROVIDER_REFUSED"),
    "token: no JSON": (says("/token", 200, b"<html>"), "PROVIDER_ANSWER"),
    "token: a list": (says("/token", 200, b"[]"), "PROVIDER_ANSWER"),
    "token: deeply nested": (says("/token", 200, b"[" * 100_000), "PROVIDER_ANSWER"),
    "token: huge": (says("/token", 200, b'{"a": "' + b"x" * 2_000_000 + b'"}'), "PROVIDER_ANSWER"),
    "token: a redirect": (says("/token", 302, b""), "PROVIDER_REFUSED"),
    "userinfo: 500": (says("/userinfo", 500, b""), "PROVIDER_DOWN"),
    "userinfo: 401": (says("/userinfo", 401, b""), "PROVIDER_REFUSED"),
    "userinfo: a JWT": (says("/userinfo", 200, b"eyJhbGciOiJub25lIn0.e30."), "PROVIDER_ANSWER"),
    "keys: 500": (says("/jwks", 500, b""), "PROVIDER_DOWN"),
    "keys: no JSON": (says("/jwks", 200, b"<html>"), "PROVIDER_ANSWER"),
}
