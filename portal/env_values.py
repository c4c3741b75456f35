"""The types of settings. Error messages never contain the value, because it may hold a password."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, HttpUrl, RedisDsn, ValidationError
from pydantic_settings import NoDecode

from grants.adapters import trust
from grants.adapters.idp.kinds import KINDS


def is_loopback(host: str) -> bool:
    """Is this host the loopback interface, which no other machine can reach?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _split(url: str) -> tuple[str, SplitResult]:
    try:
        whole = str(HttpUrl(url)).rstrip("/")
        parts = urlsplit(whole)
    except (ValidationError, ValueError):
        raise ValueError("write https://host, with :port and /path where it has them") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("no password, ? or # belongs into this URL")
    return whole, parts


def _url(url: str) -> str:
    return _split(url)[0]


def _web_url(url: str) -> str:
    whole, parts = _split(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("write https://…: http is for this machine alone (127.0.0.1, localhost)")
    return whole


def _origin(url: str) -> str:
    whole = _web_url(url)
    if urlsplit(whole).path:
        raise ValueError("no path belongs into this URL: the portal has a host of its own")
    return whole


def _postgres(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("postgresql", "postgres") and parts.path.strip("/") and (parts.port or True)
    except ValueError:
        fine = False
    if not fine or not all("=" in pair for pair in parts.query.split("&") if pair):
        raise ValueError("write postgresql://role:password@host:port/database, or …/database?host=/socket/folder")
    return url


def _redis(url: str) -> str:
    try:
        return str(RedisDsn(url))
    except ValidationError:
        raise ValueError("write redis://host:port/0, or rediss://… with TLS") from None


def _secret_ref(ref: str) -> str:
    if ref and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.*", ref):
        raise ValueError("write env:NAME or file:/absolute/path, never the secret itself")
    return ref


def _smtp(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = not url or (parts.scheme in ("smtp", "smtps") and parts.hostname and (parts.port or True))
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("write smtp://user:password@host:587, or smtps://…")
    return url


def _networks(said: object) -> object:
    if not isinstance(said, str):
        return said
    try:
        return tuple(ip_network(one.strip()) for one in said.split(",") if one.strip())
    except ValueError:
        raise ValueError("write addresses or networks, with commas: 10.0.0.0/8, ::1") from None


def _idp_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"one of {', '.join(KINDS)}")
    return kind


Url = Annotated[str, AfterValidator(_url)]
WebUrl = Annotated[str, AfterValidator(_web_url)]  # https; http only on this machine
Origin = Annotated[str, AfterValidator(_origin)]  # a WebUrl without a path
Postgres = Annotated[str, AfterValidator(_postgres)]
Redis = Annotated[str, AfterValidator(_redis)]
SecretRef = Annotated[str, AfterValidator(_secret_ref)]  # "" means not set
Smtp = Annotated[str, AfterValidator(_smtp)]  # "" means not set
IdpKind = Annotated[str, AfterValidator(_idp_kind)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


def _certificates(file: Path) -> Path:
    if why := trust.unusable(str(file)):
        raise ValueError(f"the file {why}")
    return file.absolute()


CaFile = Annotated[Path, AfterValidator(_certificates)]


def database_with(url: str, ca_file: Path | None) -> str:
    """Return the URL, with this file as its sslrootcert when it checks the certificate and names no file itself."""
    query = urlsplit(url).query
    checked = any(pair in ("sslmode=verify-full", "sslmode=verify-ca") for pair in query.split("&"))
    if not ca_file or not checked or "sslrootcert=" in query or "PGSSLROOTCERT" in os.environ:
        return url
    return f"{url}&sslrootcert={quote(str(ca_file))}"
