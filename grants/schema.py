"""Print the schema from the database's catalogs: tables with their rights, functions and views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

ROLES = ("stint_app", "stint_gate")
HEAD = """\
-- What the migrations make, as PostgreSQL says it: written by `manage.py schema`, compared by a test.
-- In words: docs/model.md. Functions and views: grants/sql, a file each.
"""

_TABLES = """
SELECT c.oid, c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    AND c.relname ~ '^(accounts|grants)_' ORDER BY c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
    pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'f', 'c', 'x') ORDER BY position(contype::text IN 'pufcx'), conname
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
ORDER BY c.relname
"""
_TRIGGERS = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname"
_RIGHTS = """
SELECT r.rolname, x.privilege_type, coalesce(string_agg(x.attname, ', ' ORDER BY x.attnum), '')
FROM (
    SELECT a.grantee, a.privilege_type, NULL::name AS attname, 0 AS attnum FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.oid = %s
    UNION ALL
    SELECT a.grantee, a.privilege_type, t.attname, t.attnum FROM pg_attribute t, aclexplode(t.attacl) a
    WHERE t.attrelid = %s AND NOT t.attisdropped
) x JOIN pg_roles r ON r.oid = x.grantee WHERE r.rolname = ANY (%s)
GROUP BY r.rolname, x.privilege_type, x.attname IS NULL
ORDER BY r.rolname, position(x.privilege_type IN 'SELECT INSERT UPDATE DELETE'), 3
"""
_MADE = """
SELECT p.oid::regprocedure::text, p.proname, 'function', p.oid, p.proacl FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
UNION ALL
SELECT c.relname::text, c.relname, 'view', c.oid, c.relacl FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
ORDER BY 3, 2
"""
_MAY = """
SELECT r.rolname FROM aclexplode(%s::aclitem[]) a JOIN pg_roles r ON r.oid = a.grantee
WHERE r.rolname = ANY (%s) ORDER BY 1
"""


class Made(NamedTuple):
    """A function or a view; grants/sql has a file with its definition."""

    signature: str
    name: str
    kind: str
    oid: int
    may_use: tuple[str, ...]


def dump(cursor: Any) -> str:
    """Return the tables with constraints, indexes, triggers and rights, and the names of functions and views."""
    cursor.execute(_TABLES)
    tables = cursor.fetchall()
    parts = [HEAD, *("\n".join(_table(cursor, oid, name)) + "\n" for oid, name in tables)]
    said = [f"-- {one.kind} {one.signature}: {', '.join(one.may_use) or 'the owner'}" for one in made(cursor)]
    return "\n".join([*parts, "-- Functions and views, and who may use them", *said, ""])


def made(cursor: Any) -> list[Made]:
    """Return the functions and views of the schema."""
    return [
        Made(signature, name, kind, oid, tuple(role for (role,) in _rows(cursor, _MAY, acl, list(ROLES))))
        for signature, name, kind, oid, acl in _rows(cursor, _MADE)
    ]


def definition(cursor: Any, one: Made) -> str:
    """Return the definition as PostgreSQL prints it, in a form that can be executed again."""
    if one.kind == "function":
        ((text,),) = _rows(cursor, "SELECT pg_get_functiondef(%s)", one.oid)
        return f"{str(text).rstrip()};\n"
    ((text,),) = _rows(cursor, "SELECT pg_get_viewdef(%s::oid, true)", one.oid)
    return f"CREATE OR REPLACE VIEW {one.name} AS\n{text}\n"


def _table(cursor: Any, oid: int, name: str) -> Iterator[str]:
    columns = [_column(*row) for row in _rows(cursor, _COLUMNS, oid)]
    constraints = [f"CONSTRAINT {key} {text}" for key, text in _rows(cursor, _CONSTRAINTS, oid)]
    yield f"CREATE TABLE {name} ("
    yield ",\n".join(f"    {line}" for line in [*columns, *constraints])
    yield ");"
    yield from (f"{text};" for (text,) in [*_rows(cursor, _INDEXES, oid), *_rows(cursor, _TRIGGERS, oid)])
    for role, right, of in _rows(cursor, _RIGHTS, oid, oid, list(ROLES)):
        yield f"GRANT {right}{f' ({of})' if of else ''} ON {name} TO {role};"


def _column(name: str, kind: str, not_null: bool, identity: str, generated: str, default: str | None) -> str:
    said = [name, kind]
    if generated:
        said.append(f"GENERATED ALWAYS AS ({default}) STORED")
    elif default is not None:
        said.append(f"DEFAULT {default}")
    if identity:
        said.append(f"GENERATED {'ALWAYS' if identity == 'a' else 'BY DEFAULT'} AS IDENTITY")
    return " ".join([*said, "NOT NULL"] if not_null else said)


def _rows(cursor: Any, sql: str, *values: object) -> list[Any]:
    cursor.execute(sql, list(values))
    return list(cursor.fetchall())
