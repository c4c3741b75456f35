"""Nothing reads where a provider's secret is: that is a setting. The column stays, with a default, because workers of the
release before still write it; it can be dropped once none is left."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0003_recovery_tries")]
    operations: ClassVar = [
        migrations.AlterField("idp", "secret_ref", models.TextField(blank=True, db_default="")),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("idp", "secret_ref")]),
    ]
