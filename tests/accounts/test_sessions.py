"""Sessions outlive a release; those that are over are forgotten, in batches, by a due job."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.sessions.models import Session

from grants import clock, due, tasks
from grants.due import DueJob
from tests.cast import Cast
from tests.web.conftest import SignIn, sign_in  # noqa: F401 (a fixture)


@pytest.mark.usefixtures("db")
def test_what_is_over_is_forgotten_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "SESSIONS", 2)
    now = clock.now()
    for name, ends in (("a", -1), ("b", -2), ("c", -3), ("kept", 1)):
        Session.objects.create(session_key=name, session_data="", expire_date=now + timedelta(hours=ends))
    due.ensure("sessions")
    tasks.run("sessions")
    assert Session.objects.count() == 2
    assert DueJob.objects.get(name="sessions").due_at <= clock.now(), "there were as many as fit: again at once"
    tasks.run("sessions")
    assert [session.pk for session in Session.objects.all()] == ["kept"]
    assert DueJob.objects.get(name="sessions").due_at > clock.now() + timedelta(minutes=9)


def test_the_name_that_sessions_hold_is_kept() -> None:
    """Fault: another name of the class, after which nobody is signed in any more."""
    assert settings.AUTHENTICATION_BACKENDS == ["accounts.sso.Backend"]


@pytest.mark.parametrize("stored", ["accounts.sso.Gone", "gone.Backend", ""])
def test_a_session_of_a_backend_that_is_gone_is_nobodys(cast: Cast, sign_in: SignIn, stored: str) -> None:  # noqa: F811
    """Fault: every address answers 500 until the cookie is deleted."""
    client = sign_in(cast.ada)
    session = client.session
    session[BACKEND_SESSION_KEY] = stored
    session["oidc_id_token_expiration"] = 0
    session.save()
    assert client.get("/signin").status_code == 200
    assert client.get("/").status_code == 302
