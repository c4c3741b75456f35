"""Connect the signals of lower packages to their receivers in higher ones, and load the packages with due jobs.

Receivers run in the order of this list. They lock rows, so the order is part of the one lock order (docs/model.md):
request, grant, binding, credential, subject, resource, then the head of the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

from accounts import profile
from accounts.signals import coming_back, happened, session_ending
from grants.audit import export, subscribers
from grants.catalog import sync
from grants.catalog.changes import judged_anew
from grants.lifecycle import access
from grants.notifications import mail
from grants.policy import versions
from grants.tokens import tickets, usage
from grants.tokens.delivery import base as delivery
from grants.tokens.delivery import files

RECEIVERS: dict[Signal, tuple[Callable[..., Any], ...]] = {
    coming_back: (access.close_of, tickets.end_sessions_of),  # grants and their bindings, then credentials
    session_ending: (tickets.end_sessions_of,),
    judged_anew: (versions.judge_anew,),
    happened: (subscribers.record_happened,),
}
# Imported here, so that every process knows which due jobs have nothing to do; grants.tasks registers the others.
WITH_JOBS = (export, sync, versions, delivery, files, usage, mail)


# What every page needs, read in the same query as the signed-in person.
BESIDES = {versions.IN_FORCE: versions.newest_id}


def connect() -> None:
    for what, rows in BESIDES.items():
        profile.read_with_person(what, rows)
    for signal, receivers in RECEIVERS.items():
        for receiver in receivers:
            signal.connect(receiver, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")
