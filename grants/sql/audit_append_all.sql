-- Like audit_append() for each event in turn, for events that stamp nothing. The head is moved first, so that what looks at
-- it when an event comes in (restored_jumps) sees no event ahead of it.
CREATE OR REPLACE FUNCTION public.audit_append_all(verbs text[], actor text, payloads bytea[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    h public.grants_audithead;
    n bigint;
    t timestamptz;
    d bytea;
    verb text;
    payload bytea;
    hashes bytea[] := '{}';
    x bigint := pg_current_xact_id()::text::bigint;
    actor_bytes constant bytea := int4send(octet_length(actor)) || convert_to(actor, 'UTF8');
BEGIN
    SELECT * INTO STRICT h FROM public.grants_audithead FOR NO KEY UPDATE;
    n := h.seq;
    d := h.hash;
    t := public.stint_now();
    FOR verb, payload IN SELECT * FROM unnest(verbs, payloads) LOOP
        n := n + 1;
        d := sha256(
            d || int8send(n) || int8send((extract(epoch FROM t) * 1000000)::bigint)
            || int4send(octet_length(verb)) || convert_to(verb, 'UTF8') || actor_bytes || payload
        );
        hashes := hashes || d;
    END LOOP;
    UPDATE public.grants_audithead SET seq = n, hash = d, xact = x,
        base = CASE WHEN h.xact = x THEN h.base ELSE h.seq END;
    INSERT INTO public.grants_auditevent (seq, at, verb, actor, payload, prev, hash)
        SELECT h.seq + e.i, t, e.verb, actor, e.payload, coalesce(lag(e.hash) OVER (ORDER BY e.i), h.hash), e.hash
        FROM unnest(verbs, payloads, hashes) WITH ORDINALITY e (verb, payload, hash, i);
    PERFORM pg_notify('stint', n::text);
    RETURN n;
END $function$;
