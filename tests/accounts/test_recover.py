"""The way back in: typed, soon, once, and on record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from accounts import roles
from accounts.models import RecoveryCode, Subject
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


def test_it_cannot_be_guessed(cast: Cast) -> None:
    ada = as_(cast.ada)
    for _ in range(5):
        assert ada.post("/recover", {"code": "AAAAA-AAAAA-AAAAA-AAAAA"}).status_code == 422
    assert ada.post("/recover", {"code": make_code()}).status_code == 429
    assert not roles.is_admin(cast.ada)


def test_it_is_no_link(cast: Cast) -> None:
    ada = as_(cast.ada)
    assert ada.get("/recover", {"code": make_code()}).status_code == 200
    assert not roles.is_admin(cast.ada)
    assert Client(headers={"host": "127.0.0.1:8000"}).post("/recover", {"code": make_code()}).status_code == 302
