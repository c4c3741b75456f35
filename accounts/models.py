"""Subjects, their identities at identity providers, and teams. This package knows nothing of grants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, override

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.db.models import Q
from django.utils.crypto import salted_hmac

from grants.adapters.idp.kinds import KINDS


class IdP(models.Model):
    """An identity provider. Identities point at this row; the endpoints are settings."""

    id = models.BigAutoField(primary_key=True)
    slug = models.SlugField(unique=True)
    kind = models.TextField(choices=[(name, kind.label) for name, kind in KINDS.items()])
    issuer = models.TextField(unique=True)
    client_id = models.TextField()
    # The result of the last directory sync, for the status page: seen_at on success, error otherwise.
    seen_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    UNREAD = "People and teams could not be read: "  # an error with this beginning means that the sync read nothing

    @override
    def __str__(self) -> str:
        return self.slug

    @property
    def unread(self) -> bool:
        return self.error.startswith(self.UNREAD)


class Team(models.Model):
    """A group of the identity provider that Stint uses as a team."""

    id = models.BigAutoField(primary_key=True)
    slug = models.TextField(unique=True)

    @override
    def __str__(self) -> str:
        return self.slug


class Subject(AbstractBaseUser):
    """A person or a service identity. Only people have portal sessions, and there are no passwords."""

    class Kind(models.TextChoices):
        PERSON = "person"
        SERVICE = "service"

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField(choices=Kind, default=Kind.PERSON, db_default=Kind.PERSON)
    name = models.TextField()
    email = models.EmailField(blank=True, db_default="")
    team = models.ForeignKey(Team, models.PROTECT, null=True, related_name="services")
    active = models.BooleanField(default=True, db_default=True)
    time_zone = models.TextField(blank=True, db_default="")
    version = models.BigIntegerField(default=0, db_default=0)

    password = None  # type: ignore[assignment]
    USERNAME_FIELD = "id"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[models.Manager[Subject]] = models.Manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["version"], name="subject_version")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind="person", team=None) | Q(kind="service", team__isnull=False),
                name="subject_only_a_service_has_an_owning_team",
            ),
            # A team recognizes its machines by their names.
            models.UniqueConstraint(fields=["team", "name"], condition=Q(kind="service"), name="subject_service_once"),
        ]

    @override
    def __str__(self) -> str:
        return self.name

    @property
    @override
    def is_active(self) -> bool:  # type: ignore[override]
        return self.active

    @property
    def ref(self) -> str:
        return f"S-{self.pk}"

    @override
    def get_session_auth_hash(self) -> str:
        # There is no password that a session could be bound to. The SSO refresh checks and renews the session.
        return salted_hmac("accounts.Subject", str(self.pk), algorithm="sha256").hexdigest()

    @override
    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        return iter(())


class Identity(models.Model):
    """A subject at an identity provider, by the id that never changes there (`sub`), never by e-mail."""

    id = models.BigAutoField(primary_key=True)
    subject = models.ForeignKey(Subject, models.PROTECT, related_name="identities")
    idp = models.ForeignKey(IdP, models.PROTECT, related_name="identities", db_index=False)
    external_id = models.TextField()
    # Names the person in a policy. `policy apply` resolves it to external_id; nothing uses it after that.
    username = models.TextField(blank=True, db_default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["idp", "external_id"], name="identity_one_subject"),
            models.UniqueConstraint(fields=["subject", "idp"], name="identity_one_per_idp"),
        ]


class PortalRole(models.Model):
    """A role at the portal, admin or auditor. It gives no right at any orchestrator."""

    class Role(models.TextChoices):
        ADMIN = "admin"
        AUDITOR = "auditor"

    class Source(models.TextChoices):
        CLAIM = "claim"  # given and taken with a group of the identity provider
        SETTINGS = "settings"  # the first admin
        RECOVERY = "recovery"  # a typed code

    id = models.BigAutoField(primary_key=True)
    subject = models.ForeignKey(Subject, models.PROTECT, related_name="portal_roles")
    role = models.TextField(choices=Role)
    source = models.TextField(choices=Source)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "role", "source"], name="portal_role_once"),
        ]


class Membership(models.Model):
    class Source(models.TextChoices):
        OIDC = "oidc"
        DIRECTORY = "directory"
        PORTAL = "portal"

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey(Team, models.PROTECT, related_name="memberships", db_index=False)
    subject = models.ForeignKey(Subject, models.PROTECT, related_name="memberships")
    source = models.TextField(choices=Source)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "subject"], name="membership_once"),
        ]


class RecoveryCode(models.Model):
    """A short-lived code that makes the person who types it an admin; only its digest is stored."""

    id = models.BigAutoField(primary_key=True)
    digest = models.BinaryField(unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(Subject, models.PROTECT, null=True)


class RecoveryTries(models.Model):
    """The count of wrong recovery codes in an hour, by person; the row without a subject counts all people together."""

    id = models.BigAutoField(primary_key=True)
    subject = models.ForeignKey(Subject, models.PROTECT, null=True, db_index=False, db_constraint=False)
    since = models.DateTimeField()
    wrong = models.IntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject"], nulls_distinct=False, name="recovery_tries_once"),
        ]
