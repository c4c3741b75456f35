"""Check ID tokens before they sign anybody in (OpenID Connect Core §3.1.3.7). Pure functions.

Free of Django and Celery, so that the gate can check tokens, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from accounts import names

ALGORITHMS = ("RS256", "PS256", "ES256")  # asymmetric only: a public key must never be used as an HMAC secret
LEEWAY = 30  # seconds that clocks may differ
SIZE_MAX = 16 * 1024
RSA_LEAST = 2048  # bits, RFC 7518 §3.3
_MODULUS_MAX = 2732  # characters of 16,384 bits, the most that OpenSSL uses

# The types of Keycloak's other tokens in the claim `typ`; in the header, most of them are JWT.
_OTHER_TOKENS = frozenset({"bearer", "dpop", "refresh", "offline", "logout"})

type Claims = dict[str, Any]
type Jwk = Mapping[str, Any]


class BadToken(Exception):
    """The token is not accepted; `code` is the reason, for the log and the page."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UnknownKey(BadToken):
    """No key has this id. The provider may have a new key, so the caller loads the keys again."""

    def __init__(self) -> None:
        super().__init__("KID_UNKNOWN")


def verify_id_token(
    token: object,
    keys: Sequence[Jwk],
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str,
    now: datetime,
) -> Claims:
    """Return the claims of an ID token that one of `keys` signed, for us, and that is valid now. Raises BadToken.

    `access_token` came with the ID token; when the token has an `at_hash`, it must be the hash of this one.
    """
    claims = _signed(token, keys)
    _check_times(claims, int(now.timestamp()))
    if claims.get("iss") != issuer:
        raise BadToken("ISS_MISMATCH")
    _check_audience(claims, client_id)
    if names.odd(claims.get("sub"), names.ID_MAX):
        raise BadToken("SUB_MISSING")
    if not nonce or not _same(claims.get("nonce"), nonce):
        raise BadToken("NONCE_MISMATCH")
    if "at_hash" in claims and not _same(claims["at_hash"], _half_hash(access_token)):
        raise BadToken("AT_HASH_MISMATCH")
    return claims


def _same(given: object, wanted: str) -> bool:
    return isinstance(given, str) and given.isascii() and hmac.compare_digest(given, wanted)


def _half_hash(access_token: str) -> str:
    """OpenID Connect Core §3.1.3.6; all of ALGORITHMS hash by SHA-256."""
    digest = hashlib.sha256(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _signed(token: object, keys: Sequence[Jwk]) -> Claims:
    if not isinstance(token, str) or not token or len(token) > SIZE_MAX:
        raise BadToken("MALFORMED")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, UnicodeError, RecursionError) as error:
        raise BadToken("MALFORMED") from error
    if header.get("alg") not in ALGORITHMS:
        raise BadToken("ALG_NOT_ALLOWED")
    _check_type(header.get("typ"), "jwt")
    key = _key(keys, header)
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[header["alg"]],
            # The library checks only the signature; the checks below give each error its own code.
            options={"verify_signature": True, "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                     "verify_aud": False, "verify_iss": False, "verify_sub": False, "verify_jti": False},
        )  # fmt: skip
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("SIG_BAD") from error
    if isinstance(kind := claims.get("typ"), str) and kind.lower() in _OTHER_TOKENS:
        raise BadToken("TYP_MISMATCH")
    return dict(claims)


def _check_type(typ: object, wanted: str) -> None:
    """Refuse a token whose type says that it is no ID token (RFC 8725 §3.11), such as an access or logout token."""
    if typ is not None and not (isinstance(typ, str) and typ.lower().removeprefix("application/") == wanted):
        raise BadToken("TYP_MISMATCH")


def _key(keys: Sequence[Jwk], header: Mapping[str, Any]) -> jwt.PyJWK:
    """The provider's key with this id. Keys and addresses in the token's header are never used."""
    kid, alg = header.get("kid"), header["alg"]
    fitting = [
        jwk
        for jwk in keys
        if jwk.get("use", "sig") == "sig"
        and jwk.get("alg", alg) == alg
        and jwk.get("kty") in ("RSA", "EC")
        and (kid is None or jwk.get("kid") == kid)
    ]
    if not fitting:
        raise UnknownKey
    if len(fitting) > 1:
        raise BadToken("KID_AMBIGUOUS")
    return _usable(fitting[0], alg)


def _usable(jwk: Jwk, alg: str) -> jwt.PyJWK:
    if len(str(jwk.get("n", ""))) > _MODULUS_MAX:
        raise BadToken("KEY_BAD")
    try:
        key = jwt.PyJWK(dict(jwk), algorithm=alg)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm) as error:
        raise BadToken("KEY_BAD") from error
    match key.key:
        case RSAPublicKey(key_size=size):
            if size < RSA_LEAST:
                raise BadToken("KEY_WEAK")
        case EllipticCurvePublicKey(curve=SECP256R1()):  # the one of ES256
            pass
        case _:  # such as a private key, which is public now and so proves nothing
            raise BadToken("KEY_BAD")
    return key


def _check_times(claims: Claims, now: int) -> None:
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            raise BadToken("CLAIM_MISSING")
    if claims["exp"] <= now - LEEWAY:
        raise BadToken("EXPIRED")
    if claims["iat"] > now + LEEWAY:
        raise BadToken("IAT_FUTURE")
    if "nbf" in claims and not (_is_time(claims["nbf"]) and claims["nbf"] <= now + LEEWAY):
        raise BadToken("NBF_FUTURE")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**40


def _check_audience(claims: Claims, client_id: str) -> None:
    audience = claims.get("aud")
    several = [audience] if isinstance(audience, str) else audience
    if not isinstance(several, list) or client_id not in several:
        raise BadToken("AUD_MISMATCH")
    authorized = claims.get("azp")
    if (authorized is not None or len(several) > 1) and authorized != client_id:
        raise BadToken("AZP_MISMATCH")
