"""What a Prefect server can do to us: answer badly, slowly, endlessly, or change while it is read."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from grants.adapters.errors import AdapterError, Missing, Refused, Unavailable
from grants.adapters.http import Http
from grants.adapters.orchestrators.base import Listing
from grants.adapters.orchestrators.prefect import Prefect
from tests.adapters.fake_prefect import FakePrefect, Fault, answers, passes

PAUSES: list[float] = []


@pytest.fixture
def fake() -> FakePrefect:
    PAUSES.clear()
    fake = FakePrefect(page=2)
    fake.pool("etl")
    for n in range(5):
        fake.deployment("orders", f"d{n}", "etl")
    return fake


def listing(fake: FakePrefect) -> Listing:
    return Prefect(Http(fake.url, who="prefect-prod", transport=fake, sleep=PAUSES.append)).listing()


def raises(error: type[Exception]) -> Fault:
    def fault(request: httpx.Request) -> httpx.Response:
        raise error("to 10.0.0.7 with Basic aHVudGVyMg==")

    return fault


def body(content: bytes, **headers: str) -> Fault:
    return lambda request: httpx.Response(200, content=content, headers=headers)


@pytest.mark.parametrize(
    "fault",
    [
        answers(503),
        answers(429),
        answers(503, **{"Retry-After": "1"}),
        raises(httpx.ConnectError),
        raises(httpx.ConnectTimeout),
        raises(httpx.RemoteProtocolError),
    ],
)
def test_a_passing_trouble_is_tried_again(fake: FakePrefect, fault: Fault) -> None:
    fake.faults = [passes, fault, fault]
    assert listing(fake).complete
    assert len(PAUSES) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "tries"),
    [
        (answers(503), Unavailable, 3),
        (answers(429), Unavailable, 3),
        (raises(httpx.ConnectError), Unavailable, 3),
        (answers(500), Unavailable, 1),
        (answers(502), Unavailable, 1),
        (raises(httpx.ReadTimeout), Unavailable, 1),
        (answers(401), Refused, 1),
        (answers(403), Refused, 1),
        (answers(422), Refused, 1),
        (answers(302, Location="http://evil.test/"), Refused, 1),
        (answers(307, Location="/api/work_pools/count/"), Refused, 1),
        (answers(404), Missing, 1),
        (body(b"<html>Sign in</html>"), Unavailable, 1),
        (body(b""), Unavailable, 1),
        (body(b"\xff\xfe"), Unavailable, 1),
        (body(b"[" * 200_000), Unavailable, 1),
        (body(b"null"), Unavailable, 1),
        (body(b"-1"), Unavailable, 1),
        (body(b"true"), Unavailable, 1),
        (body(b'{"detail": 3}'), Unavailable, 1),
        (body(b"9" * 5_000), Unavailable, 1),
    ],
)
def test_a_lasting_trouble_is_one_of_three_kinds(
    fake: FakePrefect, fault: Fault, kind: type[AdapterError], tries: int
) -> None:
    fake.faults = [fault] * tries + [passes]
    with pytest.raises(AdapterError) as caught:
        listing(fake)
    assert isinstance(caught.value, kind)
    assert len(fake.asked) == tries
    assert "prefect-prod" in caught.value.reason
    assert caught.value.reason.endswith((".", "?"))
    for leak in ("hunter2", "aHVudGVyMg", "10.0.0.7", "evil.test"):
        assert leak not in caught.value.reason


def test_a_redirect_is_not_followed_with_our_secret(fake: FakePrefect) -> None:
    fake.faults = [answers(307, Location="http://evil.test/api/work_pools/count")]
    with pytest.raises(Refused):
        listing(fake)
    assert {request.url.host for request in fake.asked} == {"prefect.test"}


def test_retry_after_is_capped(fake: FakePrefect) -> None:
    fake.faults = [answers(503, **{"Retry-After": "86400"}), answers(429, **{"Retry-After": "-3"})]
    assert listing(fake).complete
    assert PAUSES[0] == 5
    assert PAUSES[1] < 5


def test_a_huge_body_is_cut_off(fake: FakePrefect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grants.adapters.http.ANSWER_BYTES", 1024 * 1024)
    fake.faults = [body(b" " * 1_048_577)]
    with pytest.raises(Unavailable, match="more than 1 MiB"):
        listing(fake)


def test_a_drip_of_bytes_does_not_hold_us(fake: FakePrefect) -> None:
    class Drip(httpx.SyncByteStream):
        def __iter__(self):
            while True:
                yield b" "

    fake.faults = [lambda request: httpx.Response(200, stream=Drip())]
    http = Http(fake.url, who="prefect-prod", transport=fake, answer_seconds=0.05)
    with pytest.raises(Unavailable, match="did not finish"):
        Prefect(http).listing()


def test_a_row_that_is_no_row_is_refused_whole(fake: FakePrefect) -> None:
    for broken in (
        [None],
        [{"id": "not-a-uuid", "name": "x"}],
        [{"id": "3f0c2c2e-1111-4222-8333-444455556666"}],
        [[]],
        ["x"],
    ):
        fake.faults = [passes, body(json.dumps(broken).encode())]
        with pytest.raises(Unavailable, match="cannot read"):
            listing(fake)


def test_a_page_that_repeats_is_never_complete(fake: FakePrefect) -> None:
    whole = fake.handle_request

    def repeat(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("deployments/filter"):
            request = httpx.Request("POST", request.url, json={"offset": 0})
        return whole(request)

    fake.handle_request = repeat  # type: ignore[method-assign]
    seen = listing(fake)
    assert not seen.complete
    assert seen.why.startswith("What prefect-prod has kept changing")


def test_a_page_cut_short_is_never_complete(fake: FakePrefect) -> None:
    """A proxy that answers [] in the middle looks like the end."""
    whole = fake.handle_request

    def cut(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("deployments/filter") and json.loads(request.content)["offset"] >= 2:
            return httpx.Response(200, json=[])
        return whole(request)

    fake.handle_request = cut  # type: ignore[method-assign]
    assert not listing(fake).complete


def test_endless_paging_ends(fake: FakePrefect) -> None:
    row = next(iter(fake.rows["deployments"].values()))
    whole = fake.handle_request

    def endless(request: httpx.Request) -> httpx.Response:
        match request.url.path.rsplit("/", 2)[-2:]:
            case ["deployments", "count"]:
                return httpx.Response(200, json=10**9)
            case ["deployments", "filter"]:
                fake.asked.append(request)
                return httpx.Response(200, json=[row])
        return whole(request)

    fake.handle_request = endless  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="more deployments than Stint reads"):
        listing(fake)
    assert len(fake.asked) < 1_100


def test_a_row_that_vanishes_between_pages_does_not_hide_another(fake: FakePrefect) -> None:
    """Offset paging skips the row that moved up. One more appears, so that the counts agree."""
    keys = list(fake.rows["deployments"])
    done: list[int] = []

    def meddle(request: httpx.Request) -> None:
        if not done and request.url.path.endswith("deployments/filter") and json.loads(request.content)["offset"] == 2:
            done.append(1)
            fake.delete_deployment(keys[0])
            fake.deployment("orders", "late", "etl")

    fake.before = meddle
    seen = listing(fake)
    assert seen.complete
    assert {found.remote_id for found in seen.resources if found.kind == "deployment"} == set(fake.rows["deployments"])


def test_a_listing_that_never_rests_is_not_complete(fake: FakePrefect) -> None:
    fake.before = lambda request: fake.pool(f"p{len(fake.asked)}") and None
    assert not listing(fake).complete


def test_a_deployment_of_an_unknown_pool_is_left_out_and_said(fake: FakePrefect) -> None:
    lost = fake.deployment("orders", "lost", "a-pool-that-is-not-listed")
    seen = listing(fake)
    assert not seen.complete
    assert lost not in {found.remote_id for found in seen.resources}


def test_names_come_as_they_are_and_descriptions_fit_a_screen(fake: FakePrefect) -> None:
    key = fake.deployment(
        "orders", "a\x00b\u202ec\nd", "etl", tags=("x\x00", "y" * 5_000, "", "x\x00"), description="z" * 9_000
    )
    pool = fake.pool("p" * 9_000)
    fake.rows["deployments"][key]["description"] += "\ud800"
    found = {one.remote_id: one for one in listing(fake).resources}
    assert found[key].name == "orders/a\x00b\u202ec\nd"  # the catalog does not take it: tests/catalog/test_accepted.py
    assert len(found[key].description) == 4_000
    assert found[key].tags == ("", "x\x00", "y" * 5_000)
    assert len(found[pool].name) == 9_000
    repr(found).encode()


def test_the_auth_string_goes_as_basic(fake: FakePrefect) -> None:
    secret = "admin:pässword"
    fake.auth = "Basic " + base64.b64encode(secret.encode()).decode()
    assert Prefect.at(fake.url, who="p", secret=secret, transport=fake).listing().complete
    with pytest.raises(Refused) as caught:
        Prefect.at(fake.url, who="p", secret="admin:hunter2", transport=fake).listing()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://x/api", "file:///etc/passwd", "http://", "http://admin:hunter2@prefect/api", "prefect"]
)
def test_a_url_that_is_none_or_carries_a_secret_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        Prefect.at(url, who="prefect-prod")
    assert "hunter2" not in str(caught.value)


def test_nobody_listening_is_unavailable() -> None:
    http = Http("http://127.0.0.1:9/api", who="prefect-prod", sleep=PAUSES.append)
    with http, pytest.raises(Unavailable, match="cannot be reached"):
        Prefect(http).listing()
