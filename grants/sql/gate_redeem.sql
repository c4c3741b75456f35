-- A ticket for a session. Locked first: whoever waited for the lock looks at the clock after it. No row is a no, whatever
-- the reason. A ticket without its nonce is spent, too, and the record says so.
CREATE OR REPLACE FUNCTION public.gate_redeem(ticket_digest bytea, nonce_digest bytea, key_id text, session_digest bytea)
 RETURNS TABLE(subject_id bigint, connection text, expires_at timestamp with time zone)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    ticket public.grants_credential;
    t timestamptz;
    over timestamptz;
    session bigint;
BEGIN
    SELECT c.* INTO ticket FROM public.grants_credential c
        WHERE c.digest = ticket_digest AND c.kind = 'ticket' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    t := public.stint_now();
    over := least(ticket.session_until, t + interval '12 hours');
    IF ticket.used_at IS NOT NULL OR ticket.revoked_at IS NOT NULL OR t >= ticket.expires_at OR t >= over
       OR NOT EXISTS (SELECT FROM public.accounts_subject s
                      WHERE s.id = ticket.subject_id AND s.active AND s.kind = 'person') THEN
        RETURN;
    END IF;
    UPDATE public.grants_credential c SET used_at = t WHERE c.id = ticket.id;
    IF ticket.nonce_digest IS DISTINCT FROM gate_redeem.nonce_digest THEN
        PERFORM public.audit_append(
            'gate.strayed', 'gate',
            convert_to(format(
                '{"connection":%s,"credentials":[%s],"subject":%s}',
                ticket.connection_id, ticket.id, ticket.subject_id
            ), 'UTF8'),
            '{}', '{}', '{}', '{}', ARRAY[ticket.id]
        );
        RETURN;
    END IF;
    INSERT INTO public.grants_credential
        (kind, key_id, digest, subject_id, connection_id, issued_at, expires_at)
        VALUES ('gate_session', gate_redeem.key_id, session_digest, ticket.subject_id, ticket.connection_id, t, over)
        RETURNING id INTO session;
    PERFORM public.audit_append(
        'gate.entered', 'S-' || ticket.subject_id,
        convert_to(format(
            '{"connection":%s,"credentials":[%s,%s],"subject":%s}',
            ticket.connection_id, ticket.id, session, ticket.subject_id
        ), 'UTF8'),
        '{}', '{}', '{}', '{}', ARRAY[ticket.id, session]
    );
    RETURN QUERY SELECT ticket.subject_id, c.slug::text, over FROM public.grants_connection c
        WHERE c.id = ticket.connection_id;
END $function$;
