"""Read connections.yaml into specs and report all problems at once, with line and column. Free of Django."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from grants.catalog.specs import ConnectionSpec
from grants.policy.strict import Hint, Mistake, Strict, json_schema, read, refused, wrong

_SLUG = "^[a-z0-9]+(-[a-z0-9]+)*$"
_HOST = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?$"


def _without_password(url: object) -> object:
    """Checked before everything else, because other checks print the value on a terminal and in logs."""
    if isinstance(url, str) and "@" in url:
        raise refused("A password in an address ends up in logs: put it into `secret`, as env:NAME or file:/path.")
    return url


def _may_be_called(url: str) -> str:
    if why := _bad_url(url):
        raise refused(why)
    return url.rstrip("/")


def _bad_url(url: str) -> str:
    """Say why Stint must not call this address; "" when it may."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"{url!r} is no address: {error}."
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        return f"{url!r}: write http(s)://host[:port]/path, the base of the API."
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "" if host.lower() != "metadata.google.internal" else "That is a cloud's metadata service."
    mapped = getattr(address, "ipv4_mapped", None) or address
    return "That is a link-local address: cloud metadata, not an orchestrator." if mapped.is_link_local else ""


class _Entry(Strict):
    """One orchestrator."""

    slug: Annotated[
        str, Field(max_length=50, pattern=_SLUG), Hint("a slug has small letters, digits and hyphens, 50 at most")
    ]
    kind: Literal["prefect"]
    url: Annotated[str, BeforeValidator(_without_password), Field(max_length=500), AfterValidator(_may_be_called)]
    environment: Annotated[
        str,
        Field(max_length=50, pattern=_SLUG),
        Hint("an environment has small letters, digits and hyphens, 50 at most: production, staging"),
    ]
    host: Annotated[
        str,
        Field(max_length=260, pattern=_HOST),
        Hint("the host by which clients reach it at the gate, in small letters: prefect.example.org or 127.0.0.1:4200"),
    ] = ""
    owner: Annotated[str, Field(max_length=200)] = ""
    secret: Annotated[
        str,
        Field(pattern="^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$"),
        Hint("a reference, never the secret itself: env:NAME or file:/path"),
    ] = ""


def _each_once(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    if mistakes := [*_twice(entries, "slug", "called"), *_twice(entries, "host", "reached by")]:
        raise wrong(*mistakes)
    return entries


def _twice(entries: tuple[_Entry, ...], key: str, how: str) -> Iterator[Mistake]:
    seen: set[str] = set()
    for n, value in enumerate(getattr(entry, key) for entry in entries):
        if value and value in seen:
            yield Mistake((n, key), f"Another connection is {how} {value}, too.")
        seen.add(value)


class _File(Strict):
    """The orchestrators that Stint fronts."""

    connections: Annotated[tuple[_Entry, ...], Field(max_length=100), AfterValidator(_each_once)]


def parse_connections(text: str) -> list[ConnectionSpec]:
    """Read connections.yaml. Raises PolicyErrors."""
    file, _, _ = read(_File, text)
    return [ConnectionSpec(**dict(entry)) for entry in file.connections]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return json_schema(_File, "Stint connections")
