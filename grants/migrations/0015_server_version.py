"""Which version each orchestrator said it was, at its last sync: shown, and warned of where Stint was not tested with it."""

from typing import ClassVar

from django.db import migrations, models

RIGHTS = {
    "grants_connection": (
        "SELECT, INSERT, UPDATE (kind, url, host, environment, owner_team, secret_ref, seen_at, error, held,"
        " server_version)"
    ),
}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())
BACK = "REVOKE UPDATE (server_version) ON grants_connection FROM stint_app;"


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0014_binding_role_key")]
    operations: ClassVar = [
        migrations.AddField("connection", "server_version", models.TextField(blank=True, db_default="")),
        migrations.RunSQL(GRANTS, BACK),
    ]
