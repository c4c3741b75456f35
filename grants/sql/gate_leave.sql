-- Ends a browser's session at the gate.
CREATE OR REPLACE FUNCTION public.gate_leave(session_digest bytea)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE session public.grants_credential;
BEGIN
    SELECT c.* INTO session FROM public.grants_credential c
        WHERE c.digest = session_digest AND c.kind = 'gate_session' AND c.revoked_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE public.grants_credential c SET revoked_at = public.stint_now() WHERE c.id = session.id;
    PERFORM public.audit_append(
        'gate.left', 'S-' || session.subject_id,
        convert_to(format(
            '{"connection":%s,"credentials":[%s],"subject":%s}', session.connection_id, session.id, session.subject_id
        ), 'UTF8'),
        '{}', '{}', '{}', '{}', ARRAY[session.id]
    );
    RETURN true;
END $function$;
