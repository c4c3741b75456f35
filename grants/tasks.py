"""Celery tasks. The sweeper runs `settle` in place, on time; ordinary work it publishes, a row's name the only
argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, connection

from accounts import sessions
from accounts.idp import row_of
from grants import due
from grants.adapters.errors import AdapterError
from grants.catalog.models import Connection
from grants.catalog.sync import sync_connection
from grants.identity import providers
from grants.identity.directory import sync_directory
from grants.notifications.mail import send_pending
from grants.policy.versions import judge_stale, mapped_roles
from grants.provisioning import leftovers
from grants.provisioning.calls import BACKLOG
from grants.provisioning.settle import settle as settle_due
from grants.tokens import usage
from grants.tokens.deliver import deliver

log = structlog.get_logger(__name__)

SESSIONS = 1000  # that are over, forgotten in one go


@shared_task(name="stint.settle")  # type: ignore[untyped-decorator]
def settle(more: Callable[[], bool] = lambda: False) -> int:
    """Grant and revoke the roles that are due; returns how many bindings were taken up.

    In place, the sweeper says with `more` for how long to go on with what becomes due meanwhile.
    """
    return settle_due(BACKLOG, more=more)


@shared_task(name="stint.run")  # type: ignore[untyped-decorator]
def run(name: str) -> None:
    """Run the due job called `name`, and say when it is due next. Run twice, it does no harm; never twice at once.

    The row is the truth: a message that was late, or that somebody else put into the broker, does nothing without it.
    """
    with due.alone(name) as ours:
        if ours and due.is_known(name):
            _run(name)
        else:
            log.info("job_not_wanted", job=name)


def _run(name: str) -> None:
    seconds = settings.ENV.sync_seconds
    try:
        again = _do(name, timedelta(seconds=seconds))
    except (AdapterError, OSError) as error:
        # Kept on the row it concerns, for the status page; the next turn tries again.
        log.warning("job_failed", job=name, error=str(error))
        again = timedelta(seconds=max(seconds, 15))
    except DatabaseError as error:  # a lock or a statement took too long, say: the row is given back, not left leased
        log.warning("job_failed", job=name, error=str(error))
        connection.close_if_unusable_or_obsolete()
        again = timedelta(seconds=15)
    if again is None:
        due.forget(name)
    else:
        due.done(name, again=again)


def _do(name: str, again: timedelta) -> timedelta | None:
    """Do the job; returns after how long once more, `again` unless it says otherwise, or None: it was to be done once.

    Raises AdapterError, OSError, DatabaseError.
    """
    kind, _, which = name.partition(":")
    match kind:
        case "sync":
            sync_connection(Connection.objects.get(slug=which))
        case "directory":
            if which not in settings.ENV.providers:
                return None
            sync_directory(providers.named(which), mapped=mapped_roles())
        case "mail":
            send_pending()
            again = timedelta(0)  # due whenever the record has something unread
        case "token":
            again = deliver(int(which))
        case "restored":
            provider = providers.named(which)
            leftovers.own_up_to(row_of(provider), providers.adapter(provider))
            return None
        case "judge":
            judge_stale()
            return None
        case "sessions":
            full = sessions.forget_expired(limit=SESSIONS) == SESSIONS
            again = timedelta(0) if full else timedelta(minutes=10)  # as long as a sign-in that is begun may take
        case "usage":
            again = timedelta(0) if usage.fold() else timedelta(hours=1)
        case _:
            log.error("unknown_job", job=name)
            again = timedelta(hours=1)
    return again
