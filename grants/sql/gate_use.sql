-- Counts calls. A credential that nobody knows counts nothing: one wrong row must not lose a gate's whole batch.
CREATE OR REPLACE FUNCTION public.gate_use(rows jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE counted integer;
BEGIN
    INSERT INTO public.grants_gateusage AS u (minute, gate, credential_id, route, code, n)
        SELECT date_trunc('minute', r.minute), r.gate, c.id, r.route, r.code, sum(r.n)
        FROM jsonb_to_recordset(rows)
            AS r (minute timestamptz, gate text, credential_id bigint, route text, code text, n bigint)
        JOIN public.grants_credential c ON c.id = r.credential_id
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (minute, gate, credential_id, route, code) DO UPDATE SET n = u.n + excluded.n;
    GET DIAGNOSTICS counted = ROW_COUNT;
    RETURN counted;
END $function$;
