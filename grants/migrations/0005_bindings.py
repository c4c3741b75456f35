"""Role bindings: what is given at an identity provider, whichever grants want it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_tables"),
        ("grants", "0004_rights"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoleBinding",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("external_id", models.TextField()),
                ("role", models.TextField()),
                (
                    "phase",
                    models.TextField(
                        choices=[
                            ("absent", "not given"),
                            ("adding", "being given"),
                            ("present", "given"),
                            ("removing", "being taken back"),
                            ("kept", "kept: had it before"),
                        ],
                        db_default="absent",
                        default="absent",
                    ),
                ),
                ("found_before", models.BooleanField(null=True)),
                ("want_until", models.DateTimeField(null=True)),
                ("generation", models.BigIntegerField(db_default=0, default=0)),
                ("due_at", models.DateTimeField(null=True)),
                ("owed_since", models.DateTimeField(null=True)),
                ("lease", models.UUIDField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("attempts", models.IntegerField(db_default=0, default=0)),
                ("last_error", models.TextField(blank=True, db_default="")),
                ("recheck_at", models.DateTimeField(null=True)),
                ("given_at", models.DateTimeField(null=True)),
                ("taken_at", models.DateTimeField(null=True)),
                (
                    "idp",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="accounts.idp"),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="binding_due")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("idp", "external_id", "role"), name="binding_once"),
                    models.CheckConstraint(
                        condition=models.Q(("phase__in", ["absent", "adding", "present", "removing", "kept"])),
                        name="binding_phase_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("phase", "absent"), ("found_before__isnull", False), _connector="OR"),
                        name="binding_looked_before_it_acted",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("phase", "removing"), _negated=True),
                            models.Q(("found_before", False), ("found_before__isnull", False)),
                            _connector="OR",
                        ),
                        name="binding_takes_only_what_it_gave",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("phase", "kept"), _negated=True),
                            models.Q(("found_before", True), ("found_before__isnull", False)),
                            _connector="OR",
                        ),
                        name="binding_keeps_only_what_was_there",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease", None), ("lease_until", None)),
                            models.Q(("lease__isnull", False), ("lease_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="binding_lease_ends",
                    ),
                ],
            },
        ),
    ]
