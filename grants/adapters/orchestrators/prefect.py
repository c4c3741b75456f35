"""Read the version, pools, deployments and blocks of a Prefect server. Never reads a secret, never writes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from grants.adapters.errors import Unavailable, Unsupported
from grants.adapters.http import Http, basic
from grants.adapters.orchestrators.base import Listing, RemoteResource
from grants.adapters.orchestrators.releases import Releases
from grants.adapters.text import clean

API_VERSION = "0.8.4"  # the same from 3.2 to 3.9, so it does not identify a release
RELEASES = Releases(
    brand="Prefect",
    floor=(3, 6, 14),
    newest=(3, 9),
    too_old="an older server takes events without its auth string, and no older worker gets through the gate",
    too_new="calls that it added are refused until a newer Stint knows them",
)
SERVER = RemoteResource("server", "server", "server")

_PASSES = 4  # over all resources, until two in a row agree
_MOST_ROWS = 50_000  # of one kind
_MOST_PAGES = 1_000  # of one kind in one pass; a server's own page limit may be small
_LISTING_SECONDS = 180.0
_FLOWS_AT_ONCE = 100

type Row = Mapping[str, Any]


class _Pass(NamedTuple):
    """The result of one pass over all resources, and whether it can be complete."""

    resources: tuple[RemoteResource, ...]
    steady: bool  # counts before and after agree with the rows, and every flow and pool that a row names is known
    paged: bool  # some kind took several pages, between which rows may have moved

    @property
    def keys(self) -> set[tuple[str, str]]:
        return {resource.key for resource in self.resources}


class Prefect:
    """The OrchestratorAdapter of a Prefect server."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._deadline = 0.0

    @classmethod
    def at(cls, url: str, *, who: str, secret: str = "", transport: httpx.BaseTransport | None = None) -> Prefect:
        """Connect to the server whose API is at `url` (".../api"). `secret` is its auth string, "" for none."""
        headers = {"X-Prefect-Api-Version": API_VERSION, **(basic(secret) if secret else {})}
        return cls(Http(url, who=who, headers=headers, transport=transport))

    def close(self) -> None:
        self._http.close()

    def version(self) -> str:
        """Return the version from /admin/version. Raises Unavailable, Missing, Refused; Unsupported below the floor."""
        version = self._http.get("/admin/version")
        if not isinstance(version, str):
            raise self._unreadable("a version")
        if why := RELEASES.refusal(version):
            raise Unsupported(f"{self._http.who} cannot be served. {why}")
        return version

    def listing(self) -> Listing:
        """List the server, its pools, deployments and blocks, from every page.

        Prefect pages by offset, so a row that vanishes between two pages hides another one. The listing is complete
        only when the counts before and after agree with the rows and, if there were several pages, two passes in a
        row agree. Raises Unavailable, Missing or Refused.
        """
        self._deadline = time.monotonic() + _LISTING_SECONDS
        before: set[tuple[str, str]] | None = None
        for _ in range(_PASSES):
            seen = self._everything()
            if seen.steady and (not seen.paged or seen.keys == before):
                return Listing(seen.resources, complete=True)
            before = seen.keys if seen.steady else None
        return Listing(
            seen.resources, complete=False, why=f"What {self._http.who} has kept changing while it was read."
        )

    def _everything(self) -> _Pass:
        pools, pools_steady, pools_paged = self._all("work_pools", {})
        # Sorted by creation, not by name: deployments of different flows share names, and equal names have no fixed
        # order across pages.
        deployments, steady, paged = self._all("deployments", {"sort": "CREATED_DESC"})
        blocks, blocks_steady, blocks_paged = self._all("block_documents", {"sort": "BLOCK_TYPE_AND_NAME_ASC"})
        placed = self._deployments(deployments, {self._text(row, "name"): key for key, row in pools.items()})
        return _Pass(
            resources=(SERVER, *self._pools(pools), *placed, *self._blocks(blocks)),
            steady=pools_steady and steady and blocks_steady and len(placed) == len(deployments),
            paged=pools_paged or paged or blocks_paged,
        )

    def _all(self, what: str, order: Mapping[str, str]) -> tuple[dict[str, Row], bool, bool]:
        """All rows of one kind by id, whether the counts agree, and whether there were several pages."""
        total = self._count(what)
        rows: dict[str, Row] = {}
        read = pages = 0
        while read < total:
            # No limit is sent: the server refuses a limit above its own, which an administrator may have lowered.
            page = self._ask(f"/{what}/filter", {**order, "offset": read})
            if not isinstance(page, list):
                raise self._unreadable(what)
            if not page:
                break
            read, pages = read + len(page), pages + 1
            if pages > _MOST_PAGES or read > _MOST_ROWS:
                raise Unavailable(f"{self._http.who} lists more {what.replace('_', ' ')} than Stint reads.")
            rows.update((self._id(row, "id"), row) for row in page)
        return rows, len(rows) == total == self._count(what), pages > 1

    def _count(self, what: str) -> int:
        total = self._ask(f"/{what}/count", {})
        if type(total) is not int or total < 0:
            raise self._unreadable(what)
        return total

    def _pools(self, rows: Mapping[str, Row]) -> list[RemoteResource]:
        return [
            RemoteResource(
                "pool", key, self._text(row, "name"), self._description(row), (), SERVER.kind, SERVER.remote_id
            )
            for key, row in rows.items()
        ]

    def _deployments(self, rows: Mapping[str, Row], pools: Mapping[str, str]) -> list[RemoteResource]:
        """The deployments whose flow and pool were read; any other was added or deleted during this pass."""
        flows = self._flow_names({self._id(row, "flow_id") for row in rows.values()})
        placed = []
        for key, row in rows.items():
            flow, pool = flows.get(self._id(row, "flow_id")), row.get("work_pool_name")
            if flow is None or (pool is not None and pool not in pools):
                continue
            # A served deployment (flow.serve) has no pool: its runs execute in the serving process.
            parent = ("pool", pools[pool]) if pool is not None else SERVER.key
            name = f"{flow}/{self._text(row, 'name')}"
            placed.append(RemoteResource("deployment", key, name, self._description(row), self._tags(row), *parent))
        return placed

    def _flow_names(self, flow_ids: Collection[str]) -> dict[str, str]:
        names: dict[str, str] = {}
        wanted = sorted(flow_ids)
        while wanted:
            rows = self._ask("/flows/filter", {"flows": {"id": {"any_": wanted[:_FLOWS_AT_ONCE]}}})
            if not isinstance(rows, list):
                raise self._unreadable("flows")
            names.update((self._id(row, "id"), self._text(row, "name")) for row in rows)
            left = [flow_id for flow_id in wanted if flow_id not in names]
            if len(left) == len(wanted):
                break
            wanted = left
        return names

    def _blocks(self, rows: Mapping[str, Row]) -> list[RemoteResource]:
        found = []
        for key, row in rows.items():
            block_type = row.get("block_type")
            if not isinstance(block_type, Mapping):
                raise self._unreadable("block_documents")
            name = f"{self._text(block_type, 'slug')}/{self._text(row, 'name')}"
            description = self._description(block_type)
            found.append(RemoteResource("block", key, name, description, (), SERVER.kind, SERVER.remote_id))
        return found

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        if time.monotonic() > self._deadline:
            raise Unavailable(f"{self._http.who} took more than {_LISTING_SECONDS:g} seconds to list what it has.")
        return self._http.query(path, body)

    def _id(self, row: object, field: str) -> str:
        try:
            return str(UUID(self._text(row, field)))
        except ValueError:
            raise self._unreadable(field) from None

    def _text(self, row: object, field: str) -> str:
        value = row.get(field) if isinstance(row, Mapping) else None
        if not isinstance(value, str):
            raise self._unreadable(field)
        return value

    def _description(self, row: Row) -> str:
        if row.get("description") is None:
            return ""
        return clean(self._text(row, "description"), 4_000, lines=True).strip()

    def _tags(self, row: Row) -> tuple[str, ...]:
        tags = row.get("tags")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise self._unreadable("tags")
        return tuple(sorted(set(tags)))

    def _unreadable(self, what: str) -> Unavailable:
        return Unavailable(f"{self._http.who} sent {what.replace('_', ' ')} that Stint cannot read; is it Prefect?")
