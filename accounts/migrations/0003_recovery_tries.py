"""Wrong recovery codes are counted here, where signing in again makes nobody new."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

RIGHTS = {"accounts_recoverytries": "SELECT, INSERT, UPDATE (since, wrong)"}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())

# Django's keys are deferred ones: they lock at COMMIT, after the head of the record.
KEY = """
ALTER TABLE accounts_recoverytries ADD CONSTRAINT recovery_tries_of_subject
    FOREIGN KEY (subject_id) REFERENCES accounts_subject (id);
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("accounts", "0002_service_names"),
        ("grants", "0004_rights"),  # makes sure of the roles
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="RecoveryTries",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("since", models.DateTimeField()),
                ("wrong", models.IntegerField()),
                (
                    "subject",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="accounts.subject",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("subject",), name="recovery_tries_once", nulls_distinct=False),
                ],
            },
        ),
        migrations.RunSQL(KEY, "ALTER TABLE accounts_recoverytries DROP CONSTRAINT recovery_tries_of_subject"),
        migrations.RunSQL(GRANTS, "REVOKE ALL ON accounts_recoverytries FROM stint_app"),
    ]
