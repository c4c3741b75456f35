from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from grants.references import ref


class PolicyVersion(models.Model):
    """A policy that was applied. Rows are only ever added; the greatest id is in force."""

    id = models.BigAutoField(primary_key=True)
    sha256 = models.TextField()
    text = models.TextField()
    # "idp:username" -> external id of every person the text names, fixed when it was applied, so
    # that an account that is created again under an old name inherits nothing.
    people = models.JSONField()
    applied_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)  # null: the command line
    applied_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]

    @property
    def ref(self) -> str:
        return ref("policy", self.pk)


class RuleSet(models.Model):
    """A set of rules of one version that reaches resources of one kind; many resources share a row."""

    id = models.BigAutoField(primary_key=True)
    policy_version = models.ForeignKey(PolicyVersion, models.PROTECT, db_constraint=False, db_index=False)
    kind = models.TextField()
    rules = ArrayField(models.TextField())  # names, in the order of the file
    digest = models.TextField()  # of kind and rules, because the names of many rules are too long for an index
    hidden = models.BooleanField()  # one of them is `discoverable: false`

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["policy_version", "digest"], name="rule_set_once"),
        ]


class PolicyRefusal(models.Model):
    """A policy file that was refused, with its errors; shown to admins until a good one is applied."""

    id = models.BigAutoField(primary_key=True)
    sha256 = models.TextField()
    errors = models.JSONField()  # [{"line": 3, "column": 5, "message": "…"}]
    at = models.DateTimeField()
