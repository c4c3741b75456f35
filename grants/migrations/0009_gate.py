"""What the gate reads, and the three things that it may do. It has no right to any table."""

from typing import ClassVar

from django.db import migrations

# Views run as their owner. What changed since a version is `WHERE version > …`; rows over stay, as tombstones.
VIEWS = """
CREATE VIEW gate_head AS
    SELECT h.seq, stint_now() AS now FROM grants_audithead h;

CREATE VIEW gate_connections AS
    SELECT id, slug, kind, url, host, environment, secret_ref, version FROM grants_connection;

CREATE VIEW gate_resources AS
    SELECT id, connection_id, kind, remote_id, name, retired_at IS NOT NULL AS retired, version FROM grants_resource;

CREATE VIEW gate_subjects AS
    SELECT id, kind, active, version FROM accounts_subject;

-- What was taken away does not drain, nor what somebody holds who left and whom no sweep has seen yet.
CREATE VIEW gate_grants AS
    SELECT g.id, g.beneficiary_id AS subject_id, g.resource_id, g.level, g.starts_at,
        coalesce(g.ended_at, g.ends_at) AS until,
        CASE WHEN g.end_reason IN ('revoked', 'left') OR NOT s.active THEN coalesce(g.ended_at, g.ends_at)
            ELSE coalesce(g.ended_at, g.ends_at) + (g.drain_until - g.ends_at) END AS drain_until,
        g.version
    FROM grants_grant g JOIN accounts_subject s ON s.id = g.beneficiary_id;

CREATE VIEW gate_credentials AS
    SELECT id, kind, digest, subject_id, connection_id, grant_id, expires_at, revoked_at IS NOT NULL AS revoked, version
    FROM grants_credential WHERE kind <> 'ticket';
"""

# The prefix and the actor are not the gate's to choose, so it cannot forge an event of a grant.
APPEND = """
CREATE FUNCTION gate_append(verb text, payload bytea) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF verb !~ '^[a-z][a-z_]{0,40}$' OR verb = 'entered' OR octet_length(payload) > 8192
       OR jsonb_typeof(convert_from(payload, 'UTF8')::jsonb) <> 'object' THEN
        RAISE EXCEPTION 'not an event of the gate' USING ERRCODE = 'ST005';
    END IF;
    RETURN public.audit_append('gate.' || verb, 'gate', payload, '{}', '{}', '{}', '{}', '{}');
END $$;
"""

# Locked first: whoever waited for the lock looks at the clock after it. No row is a no, whatever the reason.
REDEEM = """
CREATE FUNCTION gate_redeem(ticket_digest bytea, nonce_digest bytea, key_id text, session_digest bytea)
    RETURNS TABLE (subject_id bigint, connection text, expires_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
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
       OR ticket.nonce_digest IS DISTINCT FROM gate_redeem.nonce_digest
       OR NOT EXISTS (SELECT FROM public.accounts_subject s
                      WHERE s.id = ticket.subject_id AND s.active AND s.kind = 'person') THEN
        RETURN;
    END IF;
    UPDATE public.grants_credential c SET used_at = t WHERE c.id = ticket.id;
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
END $$;
"""

# A credential that nobody knows counts nothing: one wrong row must not lose a gate's whole batch.
USE = """
CREATE FUNCTION gate_use(rows jsonb) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
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
END $$;
"""

GATE_VIEWS = (
    "gate_connections",
    "gate_credentials",
    "gate_grants",
    "gate_head",
    "gate_resources",
    "gate_subjects",
)
GATE_FUNCTIONS = (
    "gate_append(text, bytea)",
    "gate_redeem(bytea, bytea, text, bytea)",
    "gate_use(jsonb)",
)
GRANTS = "\n".join(
    [
        *(f"REVOKE ALL ON {view} FROM PUBLIC; GRANT SELECT ON {view} TO stint_gate;" for view in GATE_VIEWS),
        *(
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {function} TO stint_gate;"
            for function in GATE_FUNCTIONS
        ),
    ]
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0008_credential_rules")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (VIEWS, APPEND, REDEEM, USE, GRANTS)
    ]
