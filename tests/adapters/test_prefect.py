"""One contract for the orchestrator adapter, on our fake and on a real Prefect server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from grants.adapters.errors import Refused
from grants.adapters.orchestrators.base import Listing, RemoteResource
from grants.adapters.orchestrators.prefect import Prefect
from tests.adapters.contract import Recorder, hold_to_contract
from tests.adapters.fake_prefect import FakePrefect
from tests.real.prefect import PrefectServer, prefect_server, running_prefect

pytestmark = pytest.mark.xdist_group("prefect")

__all__ = ["prefect_server"]


class Peer(NamedTuple):
    url: str
    recorder: Recorder
    do: Callable[..., list[Any]]

    def listing(self) -> Listing:
        with closing(Prefect.at(self.url, who="prefect-prod", transport=self.recorder)) as client:
            return client.listing()


class SmallPages(httpx.BaseTransport):
    """A real server whose administrator lowered the page limit: three rows a page."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/filter") and "/flows/" not in request.url.path:
            body = {**json.loads(request.content), "limit": 3}
            request = httpx.Request(
                "POST",
                request.url,
                json=body,
                headers={"x-prefect-api-version": request.headers["x-prefect-api-version"]},
            )
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(
    params=[
        "fake",
        "fake, small pages",
        pytest.param("real", marks=pytest.mark.real),
        pytest.param("real, small pages", marks=pytest.mark.real),
    ]
)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    if request.param.startswith("fake"):
        fake = FakePrefect(page=3 if "small" in request.param else 200)
        yield Peer(fake.url, Recorder(fake), fake.do)
    else:
        server: PrefectServer = request.getfixturevalue("prefect_server")
        transport = SmallPages() if "small" in request.param else httpx.HTTPTransport()
        yield Peer(server.url, Recorder(transport), server.do)


def by_id(listing: Listing) -> dict[str, RemoteResource]:
    return {found.remote_id: found for found in listing.resources}


def test_says_its_version(peer: Peer) -> None:
    with closing(Prefect.at(peer.url, who="prefect-prod", transport=peer.recorder)) as client:
        assert re.fullmatch(r"3\.\d+\.\d+", client.version())


def test_lists_what_the_server_has(peer: Peer) -> None:
    tag = uuid4().hex[:8]
    pool, placed, served, twin, block = peer.do(
        {"do": "pool", "name": f"etl {tag}.ü", "description": "Nightly loads"},
        {
            "do": "deployment",
            "flow": f"orders-{tag}",
            "name": "prod",
            "pool": f"etl {tag}.ü",
            "tags": ["prod", "owner:x"],
            "description": "All orders",
        },
        {"do": "deployment", "flow": f"orders-{tag}", "name": "served"},
        {"do": "deployment", "flow": f"invoices-{tag}", "name": "prod", "pool": f"etl {tag}.ü"},
        {"do": "secret", "name": f"key-{tag}", "value": "hunter2-hunter2"},
    )

    listing = peer.listing()

    assert listing.complete, listing.why
    found = by_id(listing)
    assert found["server"] == RemoteResource("server", "server", "server")
    assert found[pool] == RemoteResource("pool", pool, f"etl {tag}.ü", "Nightly loads", (), "server", "server")
    assert found[placed] == RemoteResource(
        "deployment", placed, f"orders-{tag}/prod", "All orders", ("owner:x", "prod"), "pool", pool
    )
    assert found[served] == RemoteResource("deployment", served, f"orders-{tag}/served", "", (), "server", "server")
    assert found[twin].name == f"invoices-{tag}/prod"
    assert found[block][:3] == ("block", block, f"secret/key-{tag}")
    assert found[block].parent_kind == "server"
    assert len(found) == len(listing.resources)
    assert "hunter2" not in repr(listing)
    hold_to_contract(peer.recorder)


def test_a_namesake_has_an_id_of_its_own_and_a_retagged_one_keeps_its(peer: Peer) -> None:
    tag = uuid4().hex[:8]
    again = {"do": "deployment", "flow": f"orders-{tag}", "name": "prod"}
    (first,) = peer.do(again)
    peer.do({"do": "retag", "id": first, "tags": ["new"]})
    assert by_id(peer.listing())[first].tags == ("new",)

    *_, second = peer.do({"do": "delete_deployment", "id": first}, again)

    found = by_id(peer.listing())
    assert first not in found
    assert found[second].name == f"orders-{tag}/prod"


def test_a_deployment_whose_pool_is_deleted_hangs_on_the_server(peer: Peer) -> None:
    tag = uuid4().hex[:8]
    _, placed, _ = peer.do(
        {"do": "pool", "name": f"gone-{tag}"},
        {"do": "deployment", "flow": f"f-{tag}", "name": "d", "pool": f"gone-{tag}"},
        {"do": "delete_pool", "name": f"gone-{tag}"},
    )
    listing = peer.listing()
    assert listing.complete
    assert by_id(listing)[placed].parent_kind == "server"


def test_never_asks_for_secrets_and_says_which_api_it_speaks(peer: Peer) -> None:
    peer.do({"do": "secret", "name": f"s-{uuid4().hex[:8]}", "value": "hunter2-hunter2"})
    peer.listing()
    assert peer.recorder.exchanges
    for request, response in peer.recorder.exchanges:
        assert "include_secrets" not in str(request.url)
        assert b"include_secrets" not in request.content
        assert request.headers["x-prefect-api-version"] == "0.8.4"
        assert b"hunter2" not in response.content


@pytest.mark.real
def test_a_server_with_an_auth_string_wants_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not os.environ.get("CI"):
        pytest.skip("starts a second server: on CI only; the fake is held to the same header")
    home = tmp_path_factory.mktemp("prefect-auth")
    with running_prefect(home, PREFECT_SERVER_API_AUTH_STRING="admin:s3cret") as server:
        assert listing_of(server.url, "admin:s3cret").complete
        with pytest.raises(Refused):
            listing_of(server.url, "admin:wrong")


def listing_of(url: str, secret: str) -> Listing:
    with closing(Prefect.at(url, who="prefect-prod", secret=secret)) as client:
        return client.listing()
