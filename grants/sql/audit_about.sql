-- What an event is about. Whatever a payload holds, this never fails: an event that cannot be read is about nobody but
-- its actor. EXCEPTION begins a subtransaction, which no parallel query may: so it stays PARALLEL UNSAFE.
CREATE OR REPLACE FUNCTION public.audit_about(actor text, payload bytea)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
END $function$;
