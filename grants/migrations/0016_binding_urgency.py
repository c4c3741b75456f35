"""What is owed is taken up in the order of its danger: who may still do what nobody wants comes first."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q

# What is owed at this moment gets its place by what there is to do; what nobody ended by hand counts as elapsed.
PLACES = """
UPDATE grants_rolebinding SET urgency = CASE
    WHEN phase = 'removing' THEN 0 WHEN phase = 'present' THEN 1 WHEN recheck_at IS NOT NULL THEN 3 ELSE 2 END
"""

RIGHTS = {
    "grants_rolebinding": (
        "SELECT, INSERT, UPDATE (phase, found_before, role_key, want_until, generation, due_at, urgency, owed_since,"
        " lease, lease_until, attempts, last_error, recheck_at, given_at, taken_at)"
    ),
}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0015_server_version")]
    operations: ClassVar = [
        migrations.AddField(
            "rolebinding",
            "urgency",
            models.SmallIntegerField(
                choices=[(0, "ended early"), (1, "elapsed"), (2, "wanted"), (3, "to be rechecked")],
                db_default=2,
                default=2,
            ),
        ),
        migrations.RunSQL([PLACES, GRANTS], "REVOKE UPDATE (urgency) ON grants_rolebinding FROM stint_app"),
        migrations.RemoveIndex("rolebinding", "binding_due"),
        migrations.AddIndex(
            "rolebinding",
            models.Index(fields=["urgency", "due_at", "id"], condition=Q(due_at__isnull=False), name="binding_due"),
        ),
        migrations.AddIndex(
            "rolebinding",
            models.Index(fields=["idp", "due_at"], condition=~Q(last_error=""), name="binding_failing"),
        ),
    ]
