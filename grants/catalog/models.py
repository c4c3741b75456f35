from __future__ import annotations

from typing import ClassVar, override

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q

from grants.catalog.levels import KINDS, Key
from grants.references import ref


class Connection(models.Model):
    """One orchestrator that Stint fronts."""

    class Kind(models.TextChoices):
        PREFECT = "prefect", "Prefect server"

    id = models.BigAutoField(primary_key=True)
    slug = models.SlugField(unique=True)  # immutable: a trigger refuses a change
    kind = models.TextField(choices=Kind)
    url = models.URLField()  # base of the API, e.g. http://prefect:4200/api
    host = models.TextField(blank=True, db_default="")  # where clients reach it at the gate: "prefect.example.org"
    environment = models.TextField()
    owner_team = models.TextField(blank=True, db_default="")  # slug of the team that owns its resources by default
    secret_ref = models.TextField(blank=True)  # env:NAME or file:PATH, never the secret
    version = models.BigIntegerField(default=0, db_default=0)
    # The last sync: when it was complete; why it failed or was not; how many resources vanished and are held.
    seen_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, db_default="")
    held = models.IntegerField(default=0, db_default=0)
    server_version = models.TextField(blank=True, db_default="")  # the server's answer at the last sync

    LEFT_OUT = "Not in the catalog: "  # an error with this beginning is about some names only; the rest was synced

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host"], condition=~models.Q(host=""), name="connection_host_once"),
        ]

    @override
    def __str__(self) -> str:
        return self.slug

    @property
    def unread(self) -> bool:
        """Did the last sync fail or stay incomplete? Other errors are about single names."""
        return bool(self.error) and not self.error.startswith(self.LEFT_OUT)

    @property
    def ref(self) -> str:
        return ref("connection", self.pk)


class Resource(models.Model):
    """A resource that can be asked for, bound to its id at the orchestrator. Vanished ones are retired, not deleted."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="resources", db_index=False)
    kind = models.TextField(choices=[(kind, kind) for kind in KINDS])
    remote_id = models.TextField()
    name = models.TextField()  # of a deployment "flow/deployment", as in Prefect's CLI
    description = models.TextField(blank=True, db_default="")
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="children")
    tags = ArrayField(models.TextField(), default=list, db_default=[])
    seen_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)
    version = models.BigIntegerField(default=0, db_default=0)
    # What the policy in force says about the resource, for lists only: no decision reads these. grants.policy.reach
    # writes them; until then the resource is hidden.
    owner_team = models.TextField(
        blank=True, db_default=""
    )  # slug; a resource has an owning team, an owning person, or neither
    owner_person = models.TextField(blank=True, db_default="")  # "idp:external id"
    hidden = models.BooleanField(db_default=True)  # from people who neither own it nor may ask for it
    rules = models.ForeignKey(
        "grants.RuleSet", models.PROTECT, null=True, related_name="resources", db_constraint=False
    )
    # The words that search matches by their beginning, made by stint_words() in the database (migration 0018).
    words = models.GeneratedField(
        expression=Func(F("name"), F("kind"), F("tags"), F("owner_team"), F("description"), function="stint_words"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "kind", "remote_id"], name="resource_once"),
            models.CheckConstraint(condition=models.Q(kind__in=KINDS), name="resource_kind_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["version"], name="resource_version"),
            models.Index(fields=["name", "id"], name="resource_by_name"),
            models.Index(fields=["owner_team", "name", "id"], condition=~Q(owner_team=""), name="resource_by_team"),
            models.Index(fields=["owner_person"], condition=~Q(owner_person=""), name="resource_by_person"),
            GinIndex(fields=["words"], name="resource_words"),
        ]

    @override
    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> Key:
        return Key(self.connection.slug, self.kind, self.remote_id)
