"""Celery only wakes work up; all state is in the database. The time-outs below were measured."""

import faulthandler
import os
import sys

import django
from celery import Celery
from celery.signals import worker_init, worker_shutting_down
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
# Celery ends when any of Django's checks fails. A worker that starts while the database is down has to wait instead;
# refuse_a_wrong_start() below runs the checks that must end it.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
django.setup()  # the sweeper needs the models

from grants.sweeper import SweeperStep  # noqa: E402
from portal import broker, checks  # noqa: E402

app = Celery("stint")
app.conf.update(
    broker_url=settings.ENV.broker_url,
    broker_use_ssl=broker.tls(settings.ENV.broker_url, settings.ENV.ca_file),
    broker_transport_options={
        "visibility_timeout": 60,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": 1,
        "retry_on_timeout": False,
        "health_check_interval": 5,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry_policy={"max_retries": 0},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=30,
    task_time_limit=45,
    worker_soft_shutdown_timeout=10,
    worker_enable_soft_shutdown_on_idle=True,
    worker_hijack_root_logger=False,
    task_ignore_result=True,
    accept_content=["json"],
    enable_utc=True,
)
app.set_default()  # the sweeper's threads publish, too
app.steps["worker"].add(SweeperStep)


@worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
def refuse_a_wrong_start(**_: object) -> None:
    checks.before_start()


LAST_SECONDS = 60  # after SIGTERM; longer than any turn of the sweeper and any job


@worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
def end_in_time(**_: object) -> None:
    """End a worker that hangs on shutdown, as one did whose broker died at that moment; first print where it hangs.

    Its leases expire, so another worker continues its work.
    """
    # Celery has replaced stderr by a logger.
    faulthandler.dump_traceback_later(LAST_SECONDS, exit=True, file=sys.__stderr__ or 2)


__all__ = ["app"]
