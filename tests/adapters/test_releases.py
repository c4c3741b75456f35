"""Which versions of a server are served: below the floor none, above the newest with a warning."""

from __future__ import annotations

import httpx
import pytest

from grants.adapters.errors import Unavailable, Unsupported
from grants.adapters.orchestrators.prefect import RELEASES, Prefect
from tests.adapters.fake_prefect import FakePrefect


def asked(version: object) -> str:
    fake = FakePrefect()
    fake.version = version
    return Prefect.at(fake.url, who="prefect-prod", transport=fake).version()


@pytest.mark.parametrize("version", ["3.6.14", "3.6.29", "3.7.0", "3.9.1", "3.9.99", "3.6.14.post1", "3.6.14+local"])
def test_what_was_tested_is_served_without_a_word(version: str) -> None:
    assert asked(version) == version
    assert (RELEASES.refusal(version), RELEASES.warning(version)) == ("", "")


@pytest.mark.parametrize("version", ["3.6.13", "3.5.99", "2.20.4", "3.6.14rc1", "3.6.14.dev3", "0.0.0"])
def test_below_the_floor_it_is_refused_with_the_reason(version: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(version)
    assert f"It is Prefect {version}; Stint needs 3.6.14 or later" in refused.value.reason
    assert "events without its auth string" in refused.value.reason


@pytest.mark.parametrize(
    "version", ["", "latest", "3.9", "v3.9.1", "3.9.1\n", "3.9.1 <script>", "9" * 400, "3.9." + "1" * 90]
)
def test_what_is_no_version_is_refused_and_not_repeated(version: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(version)
    assert len(refused.value.reason) < 200
    assert "<script>" not in refused.value.reason


@pytest.mark.parametrize("version", ["3.10.0", "3.10.0.dev1", "4.0.0"])
def test_above_the_newest_it_is_served_and_warned_of(version: str) -> None:
    assert asked(version) == version
    assert f"Prefect {version} is newer than 3.9" in RELEASES.warning(version)


@pytest.mark.parametrize("answer", [None, 3.9, ["3.9.1"], {"version": "3.9.1"}])
def test_an_answer_that_is_no_text_is_unreadable(answer: object) -> None:
    with pytest.raises(Unavailable):
        asked(answer)


def test_the_real_route_is_the_one_asked() -> None:
    fake = FakePrefect()
    seen: list[httpx.Request] = fake.asked
    Prefect.at(fake.url, who="p", transport=fake).version()
    assert [(request.method, request.url.path) for request in seen] == [("GET", "/api/admin/version")]
