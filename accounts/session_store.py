"""Django's sessions in the database, read by a query whose SQL is written once per process."""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from accounts.written import Written, a_text, a_time


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Session | None:
        session = next(iter(_live(key=self.session_key, now=timezone.now())), None)
        if session is None:
            self._session_key = None  # as Django does, so that a client cannot choose its own key
        return session


@Written
def _live() -> QuerySet[Session]:
    return Session.objects.filter(session_key=a_text("key"), expire_date__gt=a_time("now"))
