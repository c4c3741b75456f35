-- The prefix and the actor are not the gate's to choose, so it cannot forge an event of a grant.
CREATE OR REPLACE FUNCTION public.gate_append(verb text, payload bytea)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
BEGIN
    IF verb !~ '^[a-z][a-z_]{0,40}$' OR verb = 'entered' OR octet_length(payload) > 8192
       OR jsonb_typeof(convert_from(payload, 'UTF8')::jsonb) <> 'object' THEN
        RAISE EXCEPTION 'not an event of the gate' USING ERRCODE = 'ST005';
    END IF;
    RETURN public.audit_append('gate.' || verb, 'gate', payload, '{}', '{}', '{}', '{}', '{}');
END $function$;
