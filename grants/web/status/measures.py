"""Read counts and ages for /metrics from the database at each scrape, into a registry of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Func, IntegerField, Min, Model, OuterRef, QuerySet, Subquery
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.models import IdP
from grants.audit import export
from grants.audit.models import AuditEvent, AuditHead
from grants.catalog.models import Connection
from grants.catalog.sync import version_warning
from grants.due import ProcessBeat, wanted
from grants.lifecycle import bindings
from grants.lifecycle.models import Grant, Request, RoleBinding
from grants.notifications.models import Cursor
from grants.policy import versions


def counted(now: datetime) -> AuditHead:
    """Read the head of the record, and count in the same query what is reported for all.

    As `last_at`, `pending`, `live`, `roles_due` and `work_due_at`.
    """
    pending = Request.objects.filter(state=Request.State.PENDING, lapses_at__gt=now)
    return AuditHead.objects.annotate(
        last_at=Subquery(AuditEvent.objects.filter(pk=OuterRef("seq")).values("at")),
        pending=_count(pending),
        live=_count(Grant.objects.live_at(now)),
        roles_due=_count(RoleBinding.objects.filter(due_at__lte=now)),
        work_due_at=Subquery(wanted().filter(due_at__lte=now).order_by("due_at").values("due_at")[:1]),
    ).get()


def _count(rows: QuerySet[Model]) -> Subquery:
    one = rows.order_by().annotate(n=Func(F("pk"), function="count", output_field=IntegerField()))
    return Subquery(one.values("n"))


def exposition(now: datetime) -> bytes:
    """Write the metrics at `now` in Prometheus's text format. They have no names of people."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_State(now))
    return generate_latest(registry)


class _State(Collector):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering makes no query

    def collect(self) -> Iterable[Metric]:
        now = self._now
        told: Any = counted(now)
        yield _one("stint_grants_live", "Grants whose window holds now.", told.live)
        yield _one("stint_requests_pending", "Requests that wait for a decision.", told.pending)
        overdue = self._age(told.work_due_at) or 0
        yield _one("stint_due_job_oldest_seconds", "By how much the oldest due job is overdue.", overdue)
        yield _one("stint_audit_seq", "Number of the last event of the record.", told.seq)
        yield from self._heads()
        idps = list(IdP.objects.order_by("slug"))
        yield _one("stint_bindings_due", "Roles to be given, taken or checked by now.", told.roles_due)
        yield from self._roles(idps)
        yield from self._syncs(idps)
        yield _one(
            "stint_policy_refused",
            "1 while a newer policy file than the one in force was refused.",
            versions.refusal_since(versions.in_force_row()) is not None,
        )
        yield from self._beats()
        yield self._cursors()

    def _heads(self) -> Iterable[Metric]:
        """If the heads can't be read, report no age and the record as behind: fail closed."""
        try:
            last, behind = export.last_exported(), bool(export.behind())
        except (export.HeadKeyError, OSError):
            last, behind = None, True
        if last is not None:
            yield _one("stint_head_age_seconds", "Since the head was exported last.", self._age(last.at) or 0)
        yield _one("stint_record_behind", "1 while the record does not continue the exported heads.", behind)

    def _roles(self, idps: Sequence[IdP]) -> Iterable[Metric]:
        late = bindings.overdue(self._now).order_by().values("idp__slug").annotate(n=Count("pk"), oldest=Min("since"))
        late_by = {row["idp__slug"]: (row["n"], row["oldest"]) for row in late}
        count = _by("stint_bindings_overdue", "Of these, the ones late by more than 10 seconds.", "idp")
        age = _by("stint_binding_overdue_seconds", "By how much the oldest of them is late.", "idp")
        for idp in idps:
            n, oldest = late_by.get(idp.slug, (0, None))
            count.add_metric((idp.slug,), n)
            age.add_metric((idp.slug,), self._age(oldest) or 0)
        yield count
        yield age

    def _syncs(self, idps: Sequence[IdP]) -> Iterable[Metric]:
        age = _by("stint_sync_age_seconds", "Since the last complete sync; absent if there was none.", "what", "slug")
        never = _by("stint_sync_never", "1 while there was no complete sync yet.", "what", "slug")
        failed = _by("stint_sync_failed", "1 while the last sync failed.", "what", "slug")
        held = _by("stint_sync_held", "Resources that vanished and are held.", "slug")
        untested = _by("stint_server_untested", "1 while the server is newer than any that was tested.", "slug")
        synced: list[tuple[str, Connection | IdP]] = [
            ("connection", row) for row in Connection.objects.order_by("slug")
        ]
        synced += [("idp", row) for row in idps]
        for what, one in synced:
            if (seconds := self._age(one.seen_at)) is not None:
                age.add_metric((what, one.slug), seconds)
            never.add_metric((what, one.slug), one.seen_at is None)
            failed.add_metric((what, one.slug), one.unread)
            if isinstance(one, Connection):
                held.add_metric((one.slug,), one.held)
                untested.add_metric((one.slug,), bool(version_warning(one)))
        return age, never, failed, held, untested

    def _beats(self) -> Iterable[Metric]:
        age = _by("stint_beat_age_seconds", "Since the last sign of life of a worker or gate.", "process")
        version = _by("stint_process_version", "1 for the version that it had then.", "process", "version")
        for one in ProcessBeat.objects.order_by("name"):
            age.add_metric((one.name,), self._age(one.at) or 0)
            version.add_metric((one.name, one.version), 1)
        return age, version

    def _cursors(self) -> Metric:
        family = _by("stint_cursor_seq", "How far a reader of the record has come.", "reader")
        for name, seq in Cursor.objects.order_by("name").values_list("name", "seq"):
            family.add_metric((name,), seq)
        return family

    def _age(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (self._now - at).total_seconds())


def _one(name: str, help_text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, help_text)
    family.add_metric((), value)
    return family


def _by(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)
