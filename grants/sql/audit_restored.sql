-- The owner's alone: whoever can write only as the app cannot make a gate believe in a restore. Numbers of what was lost
-- are left unused, so that an old link to R-17 opens nothing else.
CREATE OR REPLACE FUNCTION public.audit_restored(next_seq bigint, payload bytea)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    h public.grants_audithead;
    t timestamptz;
    d bytea;
    x bigint := pg_current_xact_id()::text::bigint;
    verb constant text := 'record.restored';
    actor constant text := 'operator';
    ids text;
BEGIN
    SELECT * INTO STRICT h FROM public.grants_audithead FOR NO KEY UPDATE;
    t := public.stint_now();
    d := sha256(
        h.hash || int8send(next_seq) || int8send((extract(epoch FROM t) * 1000000)::bigint)
        || int4send(octet_length(verb)) || convert_to(verb, 'UTF8')
        || int4send(octet_length(actor)) || convert_to(actor, 'UTF8') || payload
    );
    INSERT INTO public.grants_auditevent (seq, at, verb, actor, payload, prev, hash)
        VALUES (next_seq, t, verb, actor, payload, h.hash, d);
    UPDATE public.grants_audithead SET seq = next_seq, hash = d, xact = x,
        base = CASE WHEN h.xact = x THEN h.base ELSE h.seq END;
    FOREACH ids IN ARRAY ARRAY['grants_request', 'grants_grant', 'grants_credential', 'accounts_subject'] LOOP
        ids := pg_get_serial_sequence('public.' || ids, 'id');
        PERFORM setval(ids::regclass, nextval(ids::regclass) + 10000);
    END LOOP;
    PERFORM pg_notify('stint', next_seq::text);
    RETURN next_seq;
END $function$;
