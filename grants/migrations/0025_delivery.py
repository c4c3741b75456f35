"""A delivery of tokens has a row of its own, which says in which way, and what came of the last attempt."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Django's keys are deferred ones: they lock at COMMIT, after the head of the record.
KEY = """
ALTER TABLE grants_delivery ADD CONSTRAINT delivery_of_subject
    FOREIGN KEY (subject_id) REFERENCES accounts_subject (id);
"""
RIGHTS = {"grants_delivery": "SELECT, INSERT, UPDATE (delivered_at, error), DELETE"}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())
# Until now the due row alone said that tokens are delivered.
BEGUN = """
INSERT INTO grants_delivery (subject_id, kind)
SELECT s.id, 'files' FROM grants_duejob j JOIN accounts_subject s ON j.name = 'token:' || s.id;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("grants", "0024_no_want_until"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "subject",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("kind", models.TextField(choices=[("files", "files")])),
                ("delivered_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("kind__in", ["files"])), name="delivery_kind_known"),
                ],
            },
        ),
        migrations.RunSQL(KEY, "ALTER TABLE grants_delivery DROP CONSTRAINT delivery_of_subject"),
        migrations.RunSQL(GRANTS, "REVOKE ALL ON grants_delivery FROM stint_app"),
        migrations.RunSQL(BEGUN, "DELETE FROM grants_delivery"),
    ]
