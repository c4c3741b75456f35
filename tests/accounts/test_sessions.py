"""Sessions that are over are forgotten, in batches, by a due job."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from grants import clock, due, tasks
from grants.due import DueJob


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
