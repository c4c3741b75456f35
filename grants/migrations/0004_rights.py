"""What the app role may do, table by table. The gate role gets its views and functions with the gate."""

from typing import ClassVar

from django.db import migrations

APP = "stint_app"
GATE = "stint_gate"

ALL = "SELECT, INSERT, UPDATE, DELETE"
RIGHTS = {
    "accounts_idp": "SELECT, INSERT, UPDATE",
    "accounts_team": "SELECT, INSERT",
    "accounts_subject": ("SELECT, INSERT, UPDATE (kind, name, email, team_id, active, time_zone, last_login)"),
    "accounts_identity": "SELECT, INSERT, UPDATE (username)",
    "accounts_portalrole": "SELECT, INSERT, DELETE",
    "accounts_membership": "SELECT, INSERT, UPDATE (source), DELETE",
    "accounts_recoverycode": "SELECT, INSERT, UPDATE (used_at, used_by_id)",
    "django_session": ALL,
    "django_migrations": "SELECT",
    "grants_audithead": "SELECT",
    "grants_auditevent": "SELECT",
    "grants_connection": (
        "SELECT, INSERT, UPDATE (kind, url, environment, owner_team, secret_ref, seen_at, error, held)"
    ),
    "grants_resource": ("SELECT, INSERT, UPDATE (name, description, parent_id, tags, seen_at, retired_at)"),
    "grants_policyversion": "SELECT, INSERT",
    "grants_policyrefusal": "SELECT, INSERT",
    "grants_request": "SELECT, INSERT, UPDATE (state, closed_at)",
    "grants_requestitem": "SELECT, INSERT",
    "grants_decision": "SELECT, INSERT, UPDATE (superseded)",
    "grants_grant": "SELECT, INSERT, UPDATE (ended_at, closed_at, end_reason)",
    "grants_duejob": ALL,
    "grants_processbeat": ALL,
    "grants_cursor": "SELECT, UPDATE (seq, error)",
}

# Functions are open to everybody by default; so is the schema.
GRANTS = "\n".join(
    [
        f"""DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP}')
       OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{GATE}') THEN
        RAISE EXCEPTION 'create the roles {APP} and {GATE} first: docs/operations.md';
    END IF;
END $$;""",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;",
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON FUNCTIONS FROM PUBLIC;",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {GATE};",
        f"GRANT EXECUTE ON FUNCTION stint_now() TO {APP}, {GATE};",
        f"GRANT EXECUTE ON FUNCTION audit_append(text, text, bytea, bigint[], bigint[], bigint[], bigint[]) TO {APP};",
        *(f"GRANT {rights} ON {table} TO {APP};" for table, rights in RIGHTS.items()),
    ]
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0003_moves")]
    operations: ClassVar = [migrations.RunSQL(GRANTS, migrations.RunSQL.noop)]
