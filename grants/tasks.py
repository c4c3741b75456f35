"""Celery tasks. The sweeper runs `reconcile` itself, on time; other jobs it publishes as `run` with the row's name."""

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
from grants.identity import directory, providers
from grants.policy.versions import mapped_roles
from grants.provisioning import leftovers
from grants.provisioning.calls import BACKLOG
from grants.provisioning.reconcile import reconcile as reconcile_due

log = structlog.get_logger(__name__)

SESSIONS = 1000  # expired sessions that are deleted at once


@shared_task(name="stint.reconcile")  # type: ignore[untyped-decorator]
def reconcile(more: Callable[[], bool] = lambda: False) -> int:
    """Grant and revoke the roles that are due; returns how many bindings were taken up.

    In place, the sweeper says with `more` for how long to go on with what becomes due meanwhile.
    """
    return reconcile_due(BACKLOG, more=more)


@shared_task(name="stint.run")  # type: ignore[untyped-decorator]
def run(name: str) -> None:
    """Run the due job of this name and set when it is due next. Safe to run twice; never runs twice at once.

    Only the row counts: a late message, or one that somebody else put into the broker, does nothing without it.
    """
    with due.alone(name) as ours:
        if ours and due.is_known(name):
            _run(name)
        else:
            log.info("job_not_wanted", job=name)


def _run(name: str) -> None:
    seconds = settings.ENV.sync_seconds
    try:
        again = due.do(name)
    except due.UnknownJob:
        log.error("unknown_job", job=name)
        again = timedelta(hours=1)
    except (AdapterError, OSError) as error:
        # The job stored the error for the status page; the next turn tries again.
        log.warning("job_failed", job=name, error=str(error))
        again = timedelta(seconds=max(seconds, 15))
    except DatabaseError as error:  # such as a time-out: the row is given back instead of staying leased
        log.warning("job_failed", job=name, error=str(error))
        connection.close_if_unusable_or_obsolete()
        again = timedelta(seconds=15)
    if again is None:
        due.forget(name)
    else:
        due.done(name, again=again)


# Jobs that need several packages; the others are in the package that does them.


def _directories() -> list[str]:
    return [directory.sync_job(provider.slug) for provider in settings.ENV.providers.values() if provider.has_directory]


@due.job("directory", standing=_directories)
def _sync_directory(slug: str) -> timedelta | None:
    """Sync people and teams, and inspect the roles that the policy maps."""
    if slug not in settings.ENV.providers:
        return None
    directory.sync_directory(providers.settings_of(slug), mapped=mapped_roles())
    return timedelta(seconds=settings.ENV.sync_seconds)


@due.job("restored")
def _adopt_leftovers(slug: str) -> timedelta | None:
    """Adopt the roles that a restored database does not know, once, so that they are taken back."""
    provider = providers.settings_of(slug)
    leftovers.adopt_leftovers(row_of(provider), providers.adapter(provider))
    return None


@due.job("sessions", standing=lambda: ["sessions"])
def _forget_sessions(_which: str) -> timedelta:
    full = sessions.forget_expired(limit=SESSIONS) == SESSIONS
    return timedelta(0) if full else timedelta(minutes=10)  # as long as an unfinished sign-in is kept
