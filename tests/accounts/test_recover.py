"""The way back in: typed, soon, once, and on record."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from accounts import clock, recover, roles
from accounts.models import RecoveryCode, RecoveryTries, Subject
from accounts.recover import NotRecovered, make_code, use_code
from grants.audit.models import AuditEvent
from tests.cast import Cast

Move = Callable[[datetime | timedelta | None], datetime]


def as_(subject: Subject) -> Client:
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(subject)
    return client


def test_typed_once(cast: Cast) -> None:
    out = StringIO()
    call_command("recover", stdout=out)
    code = out.getvalue().splitlines()[0]
    ada = as_(cast.ada)
    assert ada.post("/recover", {"code": code.lower().replace("-", " ")}).status_code == 302
    assert roles.is_admin(cast.ada)
    assert list(AuditEvent.objects.order_by("-seq").values_list("verb", flat=True)[:2]) == [
        "recovery.used",
        "recovery.made",
    ]
    assert as_(cast.ben).post("/recover", {"code": code}).status_code == 422
    assert not roles.is_admin(cast.ben)


def test_too_late(cast: Cast, at: Move) -> None:
    code = make_code()
    at(timedelta(minutes=10))
    with pytest.raises(NotRecovered):
        use_code(code, by=cast.ada)


def test_only_the_digest_is_kept(cast: Cast) -> None:
    code = make_code()
    assert code.replace("-", "").encode() not in bytes(RecoveryCode.objects.get().digest)


WRONG = "AAAAA-AAAAA-AAAAA-AAAAA"


def test_it_cannot_be_guessed(cast: Cast, at: Move) -> None:
    at(clock.now())
    ada = as_(cast.ada)
    for _ in range(5):
        assert ada.post("/recover", {"code": WRONG}).status_code == 422
    at(timedelta(minutes=45))
    for again in (ada, as_(cast.ada)):  # signed in again, one is not somebody new
        refused = again.post("/recover", {"code": make_code()})
        assert refused.status_code == 429
        assert refused["Retry-After"] == "900"
        assert "try again in 15 minutes" in refused.text
    assert not roles.is_admin(cast.ada)
    assert not AuditEvent.objects.filter(verb="recovery.used").exists()
    assert as_(cast.ben).post("/recover", {"code": make_code()}).status_code == 302, "another person is not affected"
    at(timedelta(minutes=15))
    assert ada.post("/recover", {"code": make_code()}).status_code == 302
    assert roles.is_admin(cast.ada)


def test_nor_by_many_together(cast: Cast, at: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "TRIES_OF_ALL", 7)
    for person, tries in ((cast.ada, 4), (cast.ben, 3)):
        for _ in range(tries):
            assert as_(person).post("/recover", {"code": WRONG}).status_code == 422
    assert as_(cast.chiara).post("/recover", {"code": make_code()}).status_code == 429
    at(timedelta(hours=1))
    assert as_(cast.chiara).post("/recover", {"code": make_code()}).status_code == 302


def test_right_codes_are_not_counted(cast: Cast) -> None:
    for _ in range(7):
        use_code(make_code(), by=cast.ada)
    assert list(RecoveryTries.objects.values_list("wrong", flat=True)) == [0, 0]


def test_of_many_tries_at_once_no_more_are_heard(commits: None, cast: Cast) -> None:
    def guess(_: int) -> type[Exception]:
        try:
            with pytest.raises(NotRecovered) as raised:
                use_code(WRONG, by=cast.ada)
            return raised.type
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(16)))
    assert answers.count(NotRecovered) == 5
    assert answers.count(recover.TooManyTries) == 11


def test_it_is_no_link(cast: Cast) -> None:
    ada = as_(cast.ada)
    assert ada.get("/recover", {"code": make_code()}).status_code == 200
    assert not roles.is_admin(cast.ada)
    assert Client(headers={"host": "127.0.0.1:8000"}).post("/recover", {"code": make_code()}).status_code == 302
