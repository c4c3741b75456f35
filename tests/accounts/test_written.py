"""A query that is written once answers as if it were written each time."""

from __future__ import annotations

from threading import Thread

import pytest
from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import OuterRef, QuerySet
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership, Subject
from accounts.written import Written, a_row, a_text, among, read_along, texts
from tests.cast import Cast

written: list[str] = []


@Written
def _called() -> QuerySet[Subject]:
    written.append("again")
    teams = Membership.objects.filter(subject=OuterRef("pk")).order_by("team__slug")
    return (
        Subject.objects.filter(among("name", texts("names")), active=True)
        .annotate(teams=ArraySubquery(teams.values("team__slug")))
        .order_by("pk")
    )


@Written
def _pairs() -> QuerySet[Membership, tuple[int, str]]:
    """A percent sign in its text, and rows that are no models."""
    found = Membership.objects.filter(team__slug=a_text("team"), subject__name__contains="%")
    return found.exclude(subject=a_row("but")).values_list("subject", "team__slug")


def test_it_is_written_once_and_read_anew(cast: Cast) -> None:
    names = [cast.ada.name, "it's; DROP TABLE accounts_subject --", "100% %s"]
    before = _called(names=names)
    assert [one.pk for one in before] == [cast.ada.pk]
    Subject.objects.filter(pk=cast.ben.pk).update(name=names[2])
    with CaptureQueriesContext(connection) as asked:
        found = _called(names=names)
    assert [one.pk for one in found] == sorted([cast.ada.pk, cast.ben.pk])
    assert [one.teams for one in found] == [  # type: ignore[attr-defined]
        list(one.memberships.order_by("team__slug").values_list("team__slug", flat=True)) for one in found
    ]
    assert len(asked) == 1
    assert written == ["again"]
    assert _called(names=[]) == []


def test_its_rows_may_be_no_models(cast: Cast) -> None:
    Subject.objects.filter(pk=cast.ada.pk).update(name="50% ada")
    (team,) = Membership.objects.filter(subject=cast.ada)[:1].values_list("team__slug", flat=True)
    assert _pairs(team=team, but=0) == [(cast.ada.pk, team)]
    assert _pairs(team=team, but=cast.ada.pk) == []


def test_what_is_not_given_is_an_error(cast: Cast) -> None:
    with pytest.raises(KeyError):
        _called(name=[cast.ada.name])


def test_each_thread_reads_by_its_own_connection(db: None) -> None:
    used: list[object] = []

    def read() -> None:
        with connection.execute_wrapper(lambda run, *asked: (used.append(asked[3]["connection"]), run(*asked))[1]):
            _called(names=[])

    def read_apart() -> None:
        try:
            read()
        finally:
            connection.close()

    thread = Thread(target=read_apart)
    read()
    thread.start()
    thread.join()
    assert used[0] is not used[-1]


def test_what_was_read_along_is_not_read_again(cast: Cast) -> None:
    read_along(cast.ada, "memberships", mine := list(cast.ada.memberships.all()))
    with CaptureQueriesContext(connection) as asked:
        assert list(cast.ada.memberships.all()) == mine
    assert not asked.captured_queries
