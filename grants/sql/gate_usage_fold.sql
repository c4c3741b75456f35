-- Keeps counts older than a week by the day, under the gate ''. A part at a time, oldest first, so that no turn is long.
CREATE OR REPLACE FUNCTION public.gate_usage_fold(most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE folded integer;
BEGIN
    WITH o AS MATERIALIZED (
        SELECT minute, gate, credential_id, route, code FROM public.grants_gateusage
        WHERE minute < date_trunc('day', public.stint_now() - interval '7 days', 'UTC') AND gate <> ''
        ORDER BY minute LIMIT most FOR UPDATE SKIP LOCKED
    ), old AS (
        DELETE FROM public.grants_gateusage u USING o
        WHERE (u.minute, u.gate, u.credential_id, u.route, u.code)
            = (o.minute, o.gate, o.credential_id, o.route, o.code)
        RETURNING u.*
    ), kept AS (
        INSERT INTO public.grants_gateusage AS u (minute, gate, credential_id, route, code, n)
            SELECT date_trunc('day', minute, 'UTC'), '', credential_id, route, code, sum(n) FROM old
            GROUP BY 1, 3, 4, 5 ORDER BY 1, 3, 4, 5
            ON CONFLICT (minute, gate, credential_id, route, code) DO UPDATE SET n = u.n + excluded.n
    )
    SELECT count(*) INTO folded FROM old;
    RETURN folded;
END $function$;
