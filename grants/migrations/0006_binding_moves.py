"""The moves of a binding, and no others (MODEL §2); what the app may change of it."""

from typing import ClassVar

from django.db import migrations

# found_before is judged once: it changes only while nothing is given, and when a role held before is seen gone.
MOVES = """
CREATE FUNCTION grants_rolebinding_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.phase <> 'absent' OR NEW.found_before IS NOT NULL THEN
            RAISE EXCEPTION 'a binding is born absent' USING ERRCODE = 'ST003';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.phase <> NEW.phase AND (OLD.phase, NEW.phase) NOT IN (
        ('absent', 'adding'), ('adding', 'present'), ('adding', 'removing'), ('adding', 'kept'),
        ('present', 'removing'), ('present', 'kept'), ('kept', 'present'), ('kept', 'absent'),
        ('removing', 'absent'), ('removing', 'adding')
    ) THEN
        RAISE EXCEPTION 'binding % cannot go from % to %', OLD.id, OLD.phase, NEW.phase USING ERRCODE = 'ST003';
    END IF;
    IF OLD.found_before IS DISTINCT FROM NEW.found_before
       AND OLD.phase <> 'absent' AND NOT (OLD.phase = 'kept' AND NEW.phase = 'absent') THEN
        RAISE EXCEPTION 'binding %: what was found before is not judged again', OLD.id USING ERRCODE = 'ST003';
    END IF;
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'binding %: a generation only grows', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON grants_rolebinding
    FOR EACH ROW EXECUTE FUNCTION grants_rolebinding_moves();
"""

# As in 0003: a deferred key would lock after the head of the record.
IMMEDIATE = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conname AS n FROM pg_constraint WHERE conrelid = 'grants_rolebinding'::regclass AND condeferrable
    LOOP EXECUTE format('ALTER TABLE grants_rolebinding ALTER CONSTRAINT %I NOT DEFERRABLE', c.n); END LOOP;
END $$;
"""

RIGHTS = {
    "grants_rolebinding": (
        "SELECT, INSERT, UPDATE (phase, found_before, want_until, generation, due_at, owed_since, lease, lease_until,"
        " attempts, last_error, recheck_at, given_at, taken_at)"
    ),
}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0005_bindings")]
    operations: ClassVar = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (MOVES, IMMEDIATE, GRANTS)]
