-- The gate's sign of life, in the table that the workers' are in, under a name that passes for no worker.
CREATE OR REPLACE FUNCTION public.gate_beat(gate text, version text, alive boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
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
END $function$;
