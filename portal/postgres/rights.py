"""Find rights that a database role must not have. Free of Django, because the gate checks its role, too."""

from __future__ import annotations

# The queries answer NULL for a role as it should be. "MEMBER": a role that may become the owner counts as the owner.
_OWNER = """
    WHEN current_setting('is_superuser') = 'on' THEN 'is a superuser'
    WHEN pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'MEMBER')
        THEN 'owns the database'
    WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p', 'v')
        AND pg_has_role(relowner, 'MEMBER')) THEN 'owns tables'
"""
_WRITES = """EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p')
        AND {which} AND (has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                         OR has_any_column_privilege(oid, 'INSERT, UPDATE')))"""

APP_TOO_MUCH = f"""SELECT CASE {_OWNER}
    WHEN {_WRITES.format(which="relname IN ('grants_auditevent', 'grants_audithead')")} THEN 'may change the record'
END"""
GATE_TOO_MUCH = f"""SELECT CASE {_OWNER}
    WHEN {_WRITES.format(which="true")} THEN 'may write into tables'
END"""


def refusal(variable: str, role: str, right: str) -> str:
    """The message for a role that has a right too many; `right` is the answer of a query above."""
    return f"{variable}: its role {right}. Give it the URL of {role}, which cannot change the record."
