"""Requests, decisions, grants and role bindings. Triggers and composite keys are in migrations (docs/schema.sql)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, override

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Expression, F, Q, Value
from django.db.models.functions import Coalesce

from accounts.models import IdP
from grants.catalog.levels import WORDS
from grants.catalog.models import Resource
from grants.policy.models import PolicyVersion
from grants.references import ref

LEVEL_CHOICES = [(word, word) for word in WORDS]


class Request(models.Model):
    """A request: one or more items, one reason and one duration, decided as a whole."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        APPROVED = "approved", "Approved"
        DENIED = "denied", "Denied"
        WITHDRAWN = "withdrawn", "Withdrawn"
        LAPSED = "lapsed", "Lapsed"

    id = models.BigAutoField(primary_key=True)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="requests_made", db_index=False
    )
    beneficiary = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="requests_for", db_index=False
    )
    state = models.TextField(choices=State, default=State.PENDING)
    stages = models.JSONField()  # fixed when somebody asks: [{"need": 1, "from": […], "resources": […], "rules": […]}]
    policy_version = models.ForeignKey(PolicyVersion, models.PROTECT, db_index=False)
    reason = models.TextField()
    asked_at = models.DateTimeField()
    lapses_at = models.DateTimeField()
    duration = models.DurationField()
    idempotency_key = models.TextField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["requester", "idempotency_key"], name="request_once_per_key"),
            models.CheckConstraint(condition=Q(duration__gt=timedelta(0)), name="request_duration_positive"),
            models.CheckConstraint(
                condition=Q(state="pending", closed_at=None) | (~Q(state="pending") & Q(closed_at__isnull=False)),
                name="request_pending_is_open",
            ),
            # Targets of composite keys.
            models.UniqueConstraint(fields=["id", "beneficiary", "state"], name="request_key_state"),
            models.UniqueConstraint(fields=["id", "requester", "beneficiary"], name="request_key_people"),
            models.UniqueConstraint(fields=["id", "duration"], name="request_key_duration"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["requester", "-id"], name="request_by_requester"),
            GinIndex(SearchVector("reason", config="simple"), name="request_reason"),
            models.Index(fields=["beneficiary", "-id"], name="request_by_beneficiary"),
            models.Index(fields=["lapses_at"], condition=Q(state="pending"), name="request_pending"),
            GinIndex(
                fields=["stages"],
                condition=Q(state="pending"),
                opclasses=["jsonb_path_ops"],
                name="request_pending_stages",
            ),
        ]

    @override
    def __str__(self) -> str:
        return self.ref

    @property
    def ref(self) -> str:
        return ref("request", self.pk)


class RequestItem(models.Model):
    """One resource at one level. A cascading key keeps its state equal to the request's."""

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(Request, models.PROTECT, related_name="items", db_constraint=False, db_index=False)
    beneficiary = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    resource = models.ForeignKey(Resource, models.PROTECT, related_name="items")
    level = models.TextField(choices=LEVEL_CHOICES)
    state = models.TextField(choices=Request.State, default=Request.State.PENDING)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(level__in=WORDS), name="item_level_known"),
            models.UniqueConstraint(fields=["request", "resource", "level"], name="item_once"),
            models.UniqueConstraint(
                fields=["beneficiary", "resource", "level"],
                condition=Q(state="pending"),
                name="item_one_pending_ask",
            ),
            models.UniqueConstraint(
                fields=["request", "beneficiary", "resource", "level", "state"], name="item_key_state"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["beneficiary", "-id"], name="item_by_beneficiary"),
            models.Index(fields=["state", "-id"], name="item_by_state"),
            models.Index(fields=["resource", "-id"], name="item_by_resource"),
            models.Index(fields=["resource"], condition=Q(state="pending"), name="item_pending"),
        ]


class Decision(models.Model):
    """One approver's decision on a stage of a request."""

    class Verdict(models.TextChoices):
        APPROVE = "approve"
        DENY = "deny"

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(Request, models.PROTECT, related_name="decisions", db_constraint=False, db_index=False)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    beneficiary = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    stage = models.IntegerField()
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="decisions")
    # On whose behalf a delegate decides; the column is for_id, but `for` is a keyword of Python.
    on_behalf = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        db_column="for_id",
        db_index=False,
    )
    verdict = models.TextField(choices=Verdict)
    note = models.TextField(blank=True)
    policy_version = models.ForeignKey(PolicyVersion, models.PROTECT, db_index=False)
    superseded = models.BooleanField(default=False)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(verdict__in=["approve", "deny"]), name="decision_verdict_known"),
            models.CheckConstraint(condition=Q(stage__gte=0), name="decision_stage_known"),
            models.CheckConstraint(
                condition=~Q(approver=F("requester")) & ~Q(approver=F("beneficiary")),
                name="decision_not_by_who_asks_or_gains",
            ),
            models.CheckConstraint(
                condition=Q(on_behalf=None) | (~Q(on_behalf=F("requester")) & ~Q(on_behalf=F("beneficiary"))),
                name="decision_not_for_who_asks_or_gains",
            ),
            models.UniqueConstraint(
                F("request"),
                Coalesce(F("on_behalf"), F("approver")),
                condition=Q(superseded=False),
                name="decision_one_per_person",
            ),
            models.UniqueConstraint(
                fields=["request", "approver"],
                condition=Q(superseded=False),
                name="decision_one_per_approver",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["request"], name="decision_by_request"),
            models.Index(fields=["approver", "-id"], include=["request"], name="decision_by_approver"),
        ]


class GrantQuerySet(models.QuerySet["Grant"]):
    def live_at(self, now: datetime | Expression) -> GrantQuerySet:
        """Return the grants that are live at `now`, by their window alone, whether a sweep has closed them or not."""
        return self.annotate(until=Coalesce("ended_at", "ends_at")).filter(starts_at__lte=now, until__gt=now)


class Grant(models.Model):
    """Access to one resource at one level. Its window never moves; it can only end earlier."""

    class EndReason(models.TextChoices):
        ELAPSED = "elapsed", "on time"
        GIVEN_BACK = "given_back", "given back"
        REVOKED = "revoked", "revoked"
        LEFT = "left", "the person left"
        RETIRED = "retired", "the resource is gone"

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(Request, models.PROTECT, related_name="grants", db_constraint=False, db_index=False)
    # A constant, so that the key to request_item holds only for an approved item.
    request_state = models.GeneratedField(
        expression=Value("approved"), output_field=models.TextField(), db_persist=True
    )
    asked = models.DurationField()
    beneficiary = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="grants", db_index=False)
    resource = models.ForeignKey(Resource, models.PROTECT, related_name="grants", db_index=False)
    level = models.TextField(choices=LEVEL_CHOICES)
    idp = models.ForeignKey(IdP, models.PROTECT, null=True, db_index=False)
    role = models.TextField(null=True)  # noqa: DJ001 (both or neither, with idp)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    drain_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    end_reason = models.TextField(choices=EndReason, null=True)  # noqa: DJ001 (NULL while open)
    version = models.BigIntegerField(default=0, db_default=0)

    objects = GrantQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "resource", "level"], name="grant_once"),
            # Targets of a credential's keys.
            models.UniqueConstraint(fields=["id", "drain_until"], name="grant_key_drain"),
            models.UniqueConstraint(fields=["id", "beneficiary"], name="grant_key_beneficiary"),
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at"), ends_at__lte=F("drain_until")), name="grant_window"
            ),
            models.CheckConstraint(
                condition=Q(level="work") | Q(drain_until=F("ends_at")), name="grant_only_work_drains"
            ),
            models.CheckConstraint(
                condition=Q(asked__gte=F("ends_at") - F("starts_at")), name="grant_not_longer_than_asked"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__lte=F("ends_at")), name="grant_ends_by_its_end"
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, end_reason=None)
                | Q(
                    closed_at__isnull=False,
                    end_reason__isnull=False,  # a CHECK that is NULL passes
                    end_reason__in=["elapsed", "given_back", "revoked", "left", "retired"],
                ),
                name="grant_closed_with_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(idp=None, role=None) | Q(idp__isnull=False, role__isnull=False),
                name="grant_role_at_an_idp",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["beneficiary", "-id"], name="grant_by_beneficiary"),
            models.Index(fields=["resource", "-id"], name="grant_by_resource"),
            models.Index(fields=["version"], name="grant_version"),
            # For live_at(): live grants are among the few whose end is in the future.
            models.Index(Coalesce("ended_at", "ends_at"), name="grant_until"),
            models.Index(
                fields=["end_reason", "-id"],
                condition=Q(end_reason__isnull=False) & ~Q(end_reason="elapsed"),
                name="grant_by_reason",
            ),
            models.Index(fields=["starts_at", "id"], name="grant_by_start"),
            models.Index(fields=["id"], condition=Q(closed_at=None), name="grant_open"),
            models.Index(Coalesce("ended_at", "ends_at"), condition=Q(closed_at=None), name="grant_open_until"),
        ]

    @override
    def __str__(self) -> str:
        return self.ref

    @property
    def ref(self) -> str:
        return ref("grant", self.pk)

    @property
    def over_at(self) -> datetime:
        """When access ends or ended."""
        return self.ended_at or self.ends_at

    @property
    def drained_at(self) -> datetime:
        """When its credentials stop working: after the drain, unless the access was revoked or its holder left."""
        taken = self.end_reason in (Grant.EndReason.REVOKED, Grant.EndReason.LEFT)
        return self.over_at if taken else self.over_at + (self.drain_until - self.ends_at)

    def is_live_at(self, now: datetime) -> bool:
        return self.starts_at <= now < self.over_at


class RoleBinding(models.Model):
    """One role of one person at one provider: the unit that is given and taken, whichever grants need it.

    docs/model.md lists the phases and their changes; a trigger refuses all others.
    """

    class Phase(models.TextChoices):
        ABSENT = "absent", "not given"
        ADDING = "adding", "being given"
        PRESENT = "present", "given"
        REMOVING = "removing", "being taken back"
        KEPT = "kept", "kept: had it before"

    class Urgency(models.IntegerChoices):
        """The order in which due bindings are processed: access that should be gone comes first."""

        ENDED = 0, "ended early"  # revoked, left, given back, retired
        ELAPSED = 1, "elapsed"
        WANTED = 2, "wanted"
        RECHECK = 3, "to be rechecked"

    id = models.BigAutoField(primary_key=True)
    idp = models.ForeignKey(IdP, models.PROTECT, db_index=False)
    external_id = models.TextField()
    role = models.TextField()
    phase = models.TextField(choices=Phase, default=Phase.ABSENT, db_default=Phase.ABSENT)
    # Did the person have the role before Stint? Decided once, committed before the first call, never decided again.
    found_before = models.BooleanField(null=True)
    # The provider's key of the role that is given; the role may be renamed before it is taken.
    role_key = models.TextField(blank=True, default="", db_default="")
    # Grows with every intent and every change of what is needed, so that an older confirmation has no effect.
    generation = models.BigIntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(null=True)
    urgency = models.SmallIntegerField(choices=Urgency, default=Urgency.WANTED, db_default=Urgency.WANTED)
    owed_since = models.DateTimeField(null=True)  # when the present work became due; NULL when nothing is owed
    lease = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0, db_default=0)
    last_error = models.TextField(blank=True, db_default="")
    recheck_at = models.DateTimeField(null=True)
    given_at = models.DateTimeField(null=True)  # when it was last read back as given, after Stint gave it
    taken_at = models.DateTimeField(null=True)  # when it was last read back as gone, after Stint took it

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["idp", "external_id", "role"], name="binding_once"),
            models.CheckConstraint(
                condition=Q(phase__in=["absent", "adding", "present", "removing", "kept"]), name="binding_phase_known"
            ),
            models.CheckConstraint(
                condition=Q(phase="absent") | Q(found_before__isnull=False), name="binding_looked_before_it_acted"
            ),
            models.CheckConstraint(
                condition=~Q(phase="removing") | Q(found_before__isnull=False, found_before=False),
                name="binding_takes_only_what_it_gave",
            ),
            models.CheckConstraint(
                condition=~Q(phase="kept") | Q(found_before__isnull=False, found_before=True),
                name="binding_keeps_only_what_was_there",
            ),
            models.CheckConstraint(
                condition=Q(lease=None, lease_until=None) | Q(lease__isnull=False, lease_until__isnull=False),
                name="binding_lease_ends",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["urgency", "due_at", "id"], condition=Q(due_at__isnull=False), name="binding_due"),
            models.Index(fields=["idp", "due_at"], condition=~Q(last_error=""), name="binding_failing"),
        ]

    @override
    def __str__(self) -> str:
        return self.role

    @property
    def is_giving(self) -> bool:
        """Somebody waits for it, rather than that it is to go."""
        return self.phase in (self.Phase.ABSENT, self.Phase.ADDING, self.Phase.KEPT)

    @property
    def owed_from(self) -> datetime | None:
        """Since when work is owed, or from when on it will be; None when there is none."""
        return self.owed_since or self.due_at
