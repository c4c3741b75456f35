"""What was there before, and is seen gone, is forgotten: a role that is there later is nobody's until looked at again.

0006 let the app say at that moment that the role was not there before, so that a later one of an admin's would have
been taken for ours, and taken back.
"""

from typing import ClassVar

from django.db import migrations

FORGETS = """
CREATE FUNCTION grants_rolebinding_forgets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.found_before IS NOT NULL THEN
        RAISE EXCEPTION 'binding %: what was kept and is gone is forgotten', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER forgets BEFORE UPDATE ON grants_rolebinding
    FOR EACH ROW WHEN (OLD.phase = 'kept' AND NEW.phase = 'absent') EXECUTE FUNCTION grants_rolebinding_forgets();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0009_gate")]
    operations: ClassVar = [migrations.RunSQL(FORGETS, migrations.RunSQL.noop)]
