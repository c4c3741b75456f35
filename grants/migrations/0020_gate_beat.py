"""The gate's sign of life, beside those of the workers."""

from typing import ClassVar

from django.db import migrations

# "gate " stands before each name, so no gate passes for a worker. A hundred names at most: who has the gate's rights
# fills no table with them.
BEAT = """
CREATE FUNCTION gate_beat(gate text, version text, alive boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE whose text := 'gate ' || left(gate, 200);
BEGIN
    DELETE FROM public.grants_processbeat b
        WHERE starts_with(b.name, 'gate ')
          AND (b.at < public.stint_now() - interval '1 day' OR (NOT alive AND b.name = whose));
    IF NOT alive THEN RETURN true; END IF;
    UPDATE public.grants_processbeat b SET at = public.stint_now(), version = left(gate_beat.version, 50)
        WHERE b.name = whose;
    IF FOUND THEN RETURN true; END IF;
    IF (SELECT count(*) FROM public.grants_processbeat b WHERE starts_with(b.name, 'gate ')) >= 100 THEN
        RETURN false;
    END IF;
    INSERT INTO public.grants_processbeat (name, at, version)
        VALUES (whose, public.stint_now(), left(gate_beat.version, 50)) ON CONFLICT (name) DO NOTHING;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION gate_beat(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gate_beat(text, text, boolean) TO stint_gate;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0019_history_indexes")]
    operations: ClassVar = [migrations.RunSQL(BEAT, "DROP FUNCTION gate_beat(text, text, boolean)")]
