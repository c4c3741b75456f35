-- Refuses, at commit, a row that changed without being stamped by the event of its transaction. SECURITY DEFINER: before
-- PostgreSQL 18 a deferred trigger runs as whoever commits.
CREATE OR REPLACE FUNCTION public.grants_connection_stamped()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF EXISTS (
        SELECT FROM public.grants_connection r, public.grants_audithead h
        WHERE r.id = NEW.id AND r.version > h.base AND r.version <= h.seq
            AND h.xact = pg_current_xact_id()::text::bigint
    ) THEN RETURN NULL; END IF;
    RAISE EXCEPTION '% changed but not recorded', TG_TABLE_NAME USING ERRCODE = 'ST004';
END $function$;
