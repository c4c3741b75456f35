"""What a page has read is kept for that page alone, and nothing that acts goes by it."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from accounts.models import Membership, PortalRole, Subject
from accounts.request_cache import RequestCache, once_per_request
from grants.policy import rules
from grants.policy.people import PeopleAsked, person_of
from tests.cast import Cast


def read_by(method: str) -> list[int]:
    """How often something was read by then, for each of three who ask during one request."""
    reads: list[int] = []

    def read() -> int:
        reads.append(1)
        return len(reads)

    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(" ".join(str(once_per_request("something", read)) for _ in range(3)))

    page = RequestCache(view)
    page(RequestFactory().generic(method, "/"))
    return [int(word) for word in page(RequestFactory().generic(method, "/")).content.decode().split()]


def test_a_page_reads_once_and_the_next_one_anew() -> None:
    assert read_by("GET") == read_by("HEAD") == [2, 2, 2]


def test_what_acts_reads_anew_each_time() -> None:
    assert read_by("POST") == [4, 5, 6]


def test_nothing_is_kept_after_an_error() -> None:
    def fails(_request: HttpRequest) -> HttpResponse:
        once_per_request("something", lambda: 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RequestCache(fails)(RequestFactory().get("/"))
    assert once_per_request("something", lambda: 2) == 2


def test_the_next_page_knows_who_lost_what(cast: Cast) -> None:
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(cast.olga)
    assert client.get("/status").status_code == 200
    PortalRole.objects.filter(subject=cast.olga).delete()
    assert client.get("/status").status_code == 403
    Membership.objects.filter(subject=cast.olga).delete()
    assert b"No team" in client.get("/settings").content
    Subject.objects.filter(pk=cast.olga.pk).update(active=False)
    assert client.get("/settings").status_code == 302


def test_people_are_known_with_their_row_as_without(cast: Cast) -> None:
    for person in (cast.ada, cast.ben, cast.chiara, cast.olga):
        mine = person_of(person)
        assert mine is not None
        assert PeopleAsked().owning(rules.Owner(person=mine.key)) == {mine.id}
        assert mine.teams == set(person.memberships.values_list("team__slug", flat=True))
