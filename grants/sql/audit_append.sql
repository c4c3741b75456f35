-- The only writer of events, of the head and of `version`. Locks rows by id, then the head, then nothing.
CREATE OR REPLACE FUNCTION public.audit_append(verb text, actor text, payload bytea, grants bigint[], subjects bigint[], resources bigint[], connections bigint[], credentials bigint[] DEFAULT '{}'::bigint[])
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
    x bigint := pg_current_xact_id()::text::bigint;
BEGIN
    PERFORM FROM public.grants_grant r WHERE r.id = ANY (grants) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_credential r WHERE r.id = ANY (credentials) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.accounts_subject r WHERE r.id = ANY (subjects) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_resource r WHERE r.id = ANY (resources) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_connection r WHERE r.id = ANY (connections) ORDER BY r.id FOR NO KEY UPDATE;
    SELECT * INTO STRICT h FROM public.grants_audithead FOR NO KEY UPDATE;
    n := h.seq + 1;
    t := public.stint_now();
    d := sha256(
        h.hash || int8send(n) || int8send((extract(epoch FROM t) * 1000000)::bigint)
        || int4send(octet_length(verb)) || convert_to(verb, 'UTF8')
        || int4send(octet_length(actor)) || convert_to(actor, 'UTF8') || payload
    );
    INSERT INTO public.grants_auditevent (seq, at, verb, actor, payload, prev, hash)
        VALUES (n, t, verb, actor, payload, h.hash, d);
    UPDATE public.grants_audithead SET seq = n, hash = d, xact = x,
        base = CASE WHEN h.xact = x THEN h.base ELSE h.seq END;
    UPDATE public.grants_grant r SET version = n WHERE r.id = ANY (grants);
    UPDATE public.grants_credential r SET version = n WHERE r.id = ANY (credentials);
    UPDATE public.accounts_subject r SET version = n WHERE r.id = ANY (subjects);
    UPDATE public.grants_resource r SET version = n WHERE r.id = ANY (resources);
    UPDATE public.grants_connection r SET version = n WHERE r.id = ANY (connections);
    PERFORM pg_notify('stint', n::text);
    RETURN n;
END $function$;
