from __future__ import annotations

from typing import Any

import httpx
import pytest

from grants.adapters.errors import AdapterError, Refused, Unavailable
from grants.adapters.idp.base import DirectoryPerson
from grants.adapters.idp.demo import DemoAdapter

ADA = {
    "id": "u-1",
    "username": "ada",
    "name": "Ada Okafor",
    "email": "ada@example.test",
    "enabled": True,
    "groups": ["ingest", "ingest"],
}
BEN = {**ADA, "id": "u-2", "username": "ben", "groups": [], "enabled": False}


def directory(*pages: Any) -> DemoAdapter:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] != "Bearer s3cret":
            return httpx.Response(401)
        assert request.url.path == "/admin/users"
        return httpx.Response(200, json=pages[int(request.url.params["offset"])])

    return DemoAdapter("http://idp.test", secret="s3cret", transport=httpx.MockTransport(answer))


def test_everybody_over_all_pages() -> None:
    people = directory({"users": [ADA], "next": 1}, {"users": [ADA, BEN], "next": None}).people()
    assert people == [
        DirectoryPerson("u-1", "ada", "Ada Okafor", "ada@example.test", True, ("ingest",)),
        DirectoryPerson("u-2", "ben", "Ada Okafor", "ada@example.test", False, ()),
    ]


@pytest.mark.parametrize(
    "page",
    [
        [],
        {"users": [ADA]},  # no `next`: cut short
        {"users": [ADA], "next": 0},  # no way on
        {"users": [ADA], "next": "1"},
        {"users": [ADA], "next": True},
        {"users": None, "next": None},
        {"users": [{**ADA, "id": ""}], "next": None},
        {"users": [{**ADA, "id": 7}], "next": None},
        {"users": [{**ADA, "enabled": "no"}], "next": None},
        {"users": [{**ADA, "groups": "stint-admins"}], "next": None},
        {"users": [{**ADA, "groups": [None]}], "next": None},
        {"users": [ADA, {**ADA, "groups": ["stint-admins"]}], "next": None},
    ],
)
def test_a_part_or_a_puzzle_is_no_directory(page: Any) -> None:
    with pytest.raises(Unavailable):
        directory(page).people()


def test_endless_pages_end() -> None:
    with pytest.raises(Unavailable, match="without end"):
        directory(*({"users": [], "next": n + 1} for n in range(500))).people()


def test_a_wrong_secret_is_refused_and_not_told() -> None:
    demo = DemoAdapter(
        "http://idp.test",
        secret="hunter2",
        transport=httpx.MockTransport(lambda request: httpx.Response(401)),
    )
    with pytest.raises(Refused) as caught:
        demo.people()
    assert isinstance(caught.value, AdapterError)
    assert "hunter2" not in str(caught.value)
