"""Celery: a nudge, never the truth. The settings are measured ones (facts: reliability §3.3)."""

import os

import django
from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()  # the sweeper needs the models

from grants.sweeper import SweeperStep  # noqa: E402

app = Celery("stint")
app.conf.update(
    broker_url=settings.ENV.broker_url,
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

__all__ = ["app"]
