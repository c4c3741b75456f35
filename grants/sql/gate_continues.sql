-- How the record goes on from an event that a gate remembers. Numbers are never used again after a restore, so a restore
-- that a gate has seen is never after its head.
CREATE OR REPLACE FUNCTION public.gate_continues(known bigint, known_hash bytea)
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
SELECT CASE
    WHEN known = 0 OR EXISTS (SELECT FROM public.grants_auditevent e WHERE e.seq = known AND e.hash = known_hash)
        THEN 'yes'
    WHEN EXISTS (SELECT FROM public.grants_auditevent e WHERE e.verb = 'record.restored' AND e.seq > known)
        THEN 'restored'
    ELSE 'no' END
$function$;
