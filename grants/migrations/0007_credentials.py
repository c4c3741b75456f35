"""Credentials, what they were used for, and by which host a connection is reached at the gate."""

from datetime import timedelta

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_service_names"),
        ("grants", "0006_binding_moves"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Credential",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.TextField(
                        choices=[("token", "service token"), ("gate_session", "browser session"), ("ticket", "ticket")]
                    ),
                ),
                ("key_id", models.TextField(unique=True)),
                ("digest", models.BinaryField(unique=True)),
                (
                    "subject",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credentials",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="grants.connection",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credentials",
                        to="grants.grant",
                    ),
                ),
                (
                    "issued_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("grant_until", models.DateTimeField(null=True)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("nonce_digest", models.BinaryField(null=True)),
                ("session_until", models.DateTimeField(null=True)),
                ("used_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("version", models.BigIntegerField(db_default=0, default=0)),
            ],
        ),
        migrations.CreateModel(
            name="GateUsage",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "minute",
                        "gate",
                        "credential",
                        "route",
                        "code",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("gate", models.TextField()),
                (
                    "credential",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="usage",
                        to="grants.credential",
                    ),
                ),
                ("route", models.TextField()),
                ("code", models.TextField()),
                ("n", models.BigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="connection",
            name="host",
            field=models.TextField(blank=True, db_default=""),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.UniqueConstraint(
                condition=models.Q(("host", ""), _negated=True), fields=("host",), name="connection_host_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(fields=("id", "drain_until"), name="grant_key_drain"),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(fields=("id", "beneficiary"), name="grant_key_beneficiary"),
        ),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(fields=["version"], name="credential_version"),
        ),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(fields=["expires_at"], name="credential_expires"),
        ),
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("revoked_at", None)), fields=["subject", "kind"], name="credential_by_subject"
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("grant__isnull", False), ("kind", "token")),
                    models.Q(("grant", None), ("kind__in", ["gate_session", "ticket"])),
                    _connector="OR",
                ),
                name="credential_token_has_a_grant",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.Exact(
                        models.Func(models.F("digest"), function="octet_length", output_field=models.IntegerField()), 32
                    )
                ),
                name="credential_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(("key_id__regex", "^[0-9A-Za-z]{16}$")), name="credential_key_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("issued_at"))), name="credential_window"
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("grant_until", None), ("expires_at__lte", models.F("grant_until")), _connector="OR"
                ),
                name="credential_within_its_grant",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "gate_session"), _negated=True),
                    django.db.models.lookups.LessThanOrEqual(
                        django.db.models.expressions.CombinedExpression(
                            models.F("expires_at"), "-", models.F("issued_at")
                        ),
                        timedelta(hours=12),
                    ),
                    _connector="OR",
                ),
                name="credential_session_lasts",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        django.db.models.lookups.LessThanOrEqual(
                            django.db.models.expressions.CombinedExpression(
                                models.F("expires_at"), "-", models.F("issued_at")
                            ),
                            timedelta(seconds=30),
                        ),
                        django.db.models.lookups.Exact(
                            models.Func(
                                models.F("nonce_digest"), function="octet_length", output_field=models.IntegerField()
                            ),
                            32,
                        ),
                        ("kind", "ticket"),
                        ("nonce_digest__isnull", False),
                        ("session_until__isnull", False),
                    ),
                    models.Q(
                        models.Q(("kind", "ticket"), _negated=True),
                        ("nonce_digest", None),
                        ("session_until", None),
                        ("used_at", None),
                    ),
                    _connector="OR",
                ),
                name="credential_ticket",
            ),
        ),
        migrations.AddIndex(
            model_name="gateusage",
            index=models.Index(fields=["credential", "minute"], name="usage_by_credential"),
        ),
        migrations.AddConstraint(
            model_name="gateusage",
            constraint=models.CheckConstraint(condition=models.Q(("n__gt", 0)), name="usage_counts_something"),
        ),
    ]
