"""A role that has another name by now is taken by its key, by whichever worker comes to take it."""

from typing import ClassVar

from django.db import migrations, models

RIGHTS = {
    "grants_rolebinding": (
        "SELECT, INSERT, UPDATE (phase, found_before, role_key, want_until, generation, due_at, owed_since, lease,"
        " lease_until, attempts, last_error, recheck_at, given_at, taken_at)"
    ),
}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0013_gate_leave")]
    operations: ClassVar = [
        migrations.AddField("rolebinding", "role_key", models.TextField(blank=True, default="", db_default="")),
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
    ]
