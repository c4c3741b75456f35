"""What pages ask for at a million grants: who asked, what is live, what a reason says, who decided."""

from typing import ClassVar

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.functions.comparison
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = (
        False  # people ask, approve and revoke meanwhile, which a plain index of a million rows would hold for minutes
    )
    dependencies: ClassVar = [
        ("accounts", "0002_service_names"),
        ("grants", "0018_reach"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="decision",
            index=models.Index(fields=["request"], name="decision_by_request"),
        ),
        AddIndexConcurrently(
            model_name="grant",
            index=models.Index(
                django.db.models.functions.comparison.Coalesce("ended_at", "ends_at"), name="grant_until"
            ),
        ),
        AddIndexConcurrently(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("end_reason__isnull", False), models.Q(("end_reason", "elapsed"), _negated=True)),
                fields=["end_reason", "-id"],
                name="grant_by_reason",
            ),
        ),
        AddIndexConcurrently(
            model_name="request",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.search.SearchVector("reason", config="simple"), name="request_reason"
            ),
        ),
        AddIndexConcurrently(
            model_name="requestitem",
            index=models.Index(fields=["beneficiary", "-id"], name="item_by_beneficiary"),
        ),
        AddIndexConcurrently(
            model_name="requestitem",
            index=models.Index(fields=["state", "-id"], name="item_by_state"),
        ),
    ]
