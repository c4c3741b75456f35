"""What an event is about, as an index over the record itself: there is nothing beside it that could say otherwise."""

from typing import ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# Whatever a payload holds, this never fails: an event that cannot be read is about nobody but who did it.
# EXCEPTION begins a subtransaction, which no parallel query may: so it stays PARALLEL UNSAFE.
ABOUT = """
CREATE OR REPLACE FUNCTION audit_about(actor text, payload bytea) RETURNS text[] LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    things text[] := CASE WHEN actor ~ '^S-[0-9]{1,18}$' THEN ARRAY['subject-' || substr(actor, 3)] ELSE '{}' END;
BEGIN
    RETURN things || ARRAY(
        SELECT CASE f.key WHEN 'items' THEN 'resource' ELSE rtrim(f.key, 's') END || '-' || split_part(e, ':', 1)
        FROM jsonb_each(convert_from(payload, 'UTF8')::jsonb) f,
            jsonb_array_elements_text(
                CASE jsonb_typeof(f.value) WHEN 'array' THEN f.value ELSE jsonb_build_array(f.value) END) e
        WHERE f.key ~ '^(items|(request|grant|subject|resource|connection|policy)s?)$' AND e ~ '^[0-9]{1,18}(:|$)'
    );
EXCEPTION WHEN OTHERS THEN
    RETURN things;
END $$;
REVOKE ALL ON FUNCTION audit_about(text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_about(text, bytea) TO stint_app;
"""
INDEX = """
CREATE INDEX CONCURRENTLY auditevent_about ON grants_auditevent
    USING gin (audit_about(actor, payload)) WITH (fastupdate = off)
"""


class Migration(migrations.Migration):
    atomic = False  # events are written meanwhile; what broke off half-way is begun again
    dependencies: ClassVar = [("grants", "0021_record_many")]
    operations: ClassVar = [
        migrations.RunSQL(ABOUT, "DROP FUNCTION audit_about(text, bytea)"),
        migrations.RunSQL(
            [
                "DROP INDEX CONCURRENTLY IF EXISTS auditevent_about",
                # No list of what is still to be put in: who writes an event would now and then pay for hundreds.
                INDEX,
                "ANALYZE grants_auditevent",  # how often each thing is named
            ],
            "DROP INDEX CONCURRENTLY auditevent_about",
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["actor", "-seq"], name="auditevent_actor"),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["verb", "-seq"], name="auditevent_verb"),
        ),
    ]
