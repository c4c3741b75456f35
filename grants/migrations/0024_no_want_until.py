"""Nothing reads or writes how long a binding is wanted: that is the grants' to say. The column stays, null, for workers
of the release before; it can be dropped once none is left."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0023_page_indexes")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("rolebinding", "want_until")]),
    ]
