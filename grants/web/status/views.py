"""Show the health of connections, providers, workers and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.models import Identity, IdP, Subject
from grants import clock, due
from grants.adapters.idp.kinds import KINDS
from grants.audit import export
from grants.catalog.models import Connection
from grants.catalog.sync import version_warning
from grants.due import BEAT_STALE, DueJob, ProcessBeat
from grants.lifecycle import bindings
from grants.lifecycle.models import RoleBinding
from grants.notifications.models import Cursor
from grants.policy import versions
from grants.web.signed_in import sees_all, signed_in
from grants.web.status.measures import counted
from grants.web.words import idp_roles, times

LATE_SHOWN = 100
EXPORT_STALE = timedelta(minutes=3)
OVERDUE = timedelta(seconds=30)  # a due job that waits longer shows that no sweeper runs


class Health(NamedTuple):
    """A key of states.STATES, a word for it here, and a sentence on what it means."""

    state: str
    word: str
    text: str = ""


@require_safe
def connections(request: HttpRequest) -> HttpResponse:
    """Show connections and their health; errors, addresses and counts only to admins and auditors."""
    now, all_seen = clock.of_page(), roles.sees_all(signed_in(request))
    counted = Connection.objects.annotate(
        active=Count("resources", filter=Q(resources__retired_at=None)),
        retired=Count("resources", filter=Q(resources__retired_at__isnull=False)),
    )
    rows = [(connection, health_of(connection, now)) for connection in counted.order_by("slug")]
    idps = [(idp, _idp_health(idp, now), idps_can(idp)) for idp in IdP.objects.order_by("slug")]
    context = {"now": now, "rows": rows, "idps": idps, "all_seen": all_seen}
    return render(request, "status/connections.html", context)


def idps_can(idp: IdP) -> str:
    """Say what Stint does with a provider."""
    can = KINDS[idp.kind].can
    people = "knows people and teams" if can.directory else ""
    roles_too = "gives and takes roles" if can.roles else ""
    return ", ".join(filter(None, ["signs people in", people, roles_too]))


def health_of(connection: Connection, now: datetime) -> Health:
    """Judge the health of a connection by its last sync."""
    if connection.unread:
        return Health("bad", "No complete answer", "What was known before is still shown and can be asked for.")
    if connection.seen_at is None:
        return Health("warning", "Not synced yet", "Its catalog appears after the first sync.")
    if connection.held:
        text = "More than a fifth of its catalog vanished at once, so nothing was retired. An admin looks at it."
        return Health("warning", f"{connection.held} vanished, held", text)
    if now - connection.seen_at > _stale():
        return Health("warning", "Sync is late", f"Last synced {times.ago(connection.seen_at, now)}.")
    if connection.error:
        return Health("warning", "Odd names left out", "What is called so is not in the catalog. An admin sees which.")
    if warning := version_warning(connection):
        return Health("warning", "Newer than tested", warning)
    return Health("good", "Working")


def _stale() -> timedelta:
    return timedelta(seconds=3 * settings.ENV.sync_seconds + 30)


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Show workers, due jobs, syncs, policy, record and mail to admins and auditors."""
    sees_all(request)
    now = clock.of_page()
    head: Any = counted(now)
    row = versions.in_force_row()
    late = bindings.overdue(now)
    shown = list(late[: LATE_SHOWN + 1])
    processes = ProcessBeat.objects.annotate(works=Exists(due.worker_beats().filter(pk=OuterRef("pk"))))
    alive = [(beat, now - beat.at <= BEAT_STALE) for beat in processes.order_by("name")]
    jobs = DueJob.objects.annotate(wanted=Exists(due.wanted().filter(pk=OuterRef("pk")))).order_by("due_at")
    context = {
        "now": now,
        "processes": alive,
        "working": any(fresh and beat.works for beat, fresh in alive),
        "jobs": [(job, job.wanted, _lateness(job, now) if job.wanted else None) for job in jobs],
        "connections": [(one, health_of(one, now)) for one in Connection.objects.order_by("slug")],
        "idps": [(idp, _idp_health(idp, now)) for idp in IdP.objects.order_by("slug")],
        "roles_late": _late_roles(shown[:LATE_SHOWN], now),
        "roles_late_count": len(shown) if len(shown) <= LATE_SHOWN else late.count(),
        "policy": row,
        "refusal": versions.refusal_since(row),
        "head": head,
        "cursors": [(cursor, head.seq - cursor.seq) for cursor in Cursor.objects.order_by("name")],
        "pending": head.pending,
        "live": head.live,
        **_exported(now),
    }
    return render(request, "status/status.html", context)


def _late_roles(shown: Sequence[RoleBinding], now: datetime) -> list[tuple[RoleBinding, Subject | None, str, str]]:
    """List late roles with the person, what is to be done, and the cause."""
    ids = {binding.external_id for binding in shown}
    identities = Identity.objects.filter(external_id__in=ids).select_related("subject")
    people = {(identity.idp_id, identity.external_id): identity.subject for identity in identities}
    return [
        (binding, people.get((binding.idp_id, binding.external_id)), *idp_roles.late(binding, now)) for binding in shown
    ]


def _lateness(job: DueJob, now: datetime) -> timedelta | None:
    """Say by how much a job is overdue; None while it is in time or leased."""
    taken = job.lease_until is not None and job.lease_until > now
    return None if taken or now - job.due_at < OVERDUE else now - job.due_at


def _idp_health(idp: IdP, now: datetime) -> Health:
    if idp.error:
        return Health("bad", "No complete answer" if idp.unread else "Needs a look", idp.error)
    if idp.seen_at is None:
        return Health("info", "Sign-in only", "No directory is read from it.")
    if now - idp.seen_at > _stale():
        return Health("warning", "Sync is late", f"Last synced {times.ago(idp.seen_at, now)}.")
    return Health("good", "Working")


def _exported(now: datetime) -> dict[str, Any]:
    try:
        last, behind = export.last_exported(), export.behind()
    except (export.HeadKeyError, OSError) as error:
        return {"exported": None, "export_trouble": str(error)}
    late = "Not exported for more than three minutes." if last is None or now - last.at > EXPORT_STALE else ""
    return {"exported": last, "export_trouble": behind or late}
