"""One entry of connections.yaml: `policy.connection_file` makes it and `connections` applies it."""

from __future__ import annotations

from typing import NamedTuple


class ConnectionSpec(NamedTuple):
    """One checked entry of connections.yaml. Strings are stripped; "" means not given."""

    slug: str  # ^[a-z0-9]+(-[a-z0-9]+)*$, at most 50 characters; never changes
    kind: str  # "prefect"
    url: str  # base of the API, http(s), without a trailing slash: "http://prefect:4200/api"
    environment: str  # "production", "staging" …, never ""
    owner: str = ""  # slug of the team that owns its resources by default
    secret: str = ""  # "env:NAME" or "file:/absolute/path", never the secret itself
    host: str = ""  # where clients reach it at the gate: "prefect.example.org", "127.0.0.1:4200"
