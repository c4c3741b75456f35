"""What pages ask for besides: what somebody decided last, what waits and whom its stages name, what was asked of a thing."""

from typing import ClassVar

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # people ask and decide meanwhile
    dependencies: ClassVar = [
        ("grants", "0022_audit_about"),
    ]

    operations: ClassVar = [
        AddIndexConcurrently(
            model_name="decision",
            index=models.Index(fields=["approver", "-id"], include=["request"], name="decision_by_approver"),
        ),
        AddIndexConcurrently(
            model_name="request",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("state", "pending")),
                fields=["stages"],
                name="request_pending_stages",
                opclasses=["jsonb_path_ops"],
            ),
        ),
        AddIndexConcurrently(
            model_name="requestitem",
            index=models.Index(fields=["resource", "-id"], name="item_by_resource"),
        ),
        AddIndexConcurrently(
            model_name="requestitem",
            index=models.Index(condition=models.Q(("state", "pending")), fields=["resource"], name="item_pending"),
        ),
        # Else an index over an expression is believed to find a third of all rows, until enough of them have changed.
        migrations.RunSQL("ANALYZE grants_grant, grants_request", "ANALYZE grants_grant, grants_request"),
    ]
