-- A restore leaves a gap behind the head; an event without one is somebody else's.
CREATE OR REPLACE FUNCTION public.audit_restored_jumps()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NEW.seq <= (SELECT seq FROM public.grants_audithead) + 1 THEN
        RAISE EXCEPTION 'only the owner says that a backup was restored' USING ERRCODE = 'ST001';
    END IF;
    RETURN NEW;
END $function$;
