-- What was taken away does not drain, nor what somebody holds who left and whom no sweep has seen yet.
CREATE OR REPLACE VIEW gate_grants AS
 SELECT g.id,
    g.beneficiary_id AS subject_id,
    g.resource_id,
    g.level,
    g.starts_at,
    COALESCE(g.ended_at, g.ends_at) AS until,
        CASE
            WHEN (g.end_reason = ANY (ARRAY['revoked'::text, 'left'::text])) OR NOT s.active THEN COALESCE(g.ended_at, g.ends_at)
            ELSE COALESCE(g.ended_at, g.ends_at) + (g.drain_until - g.ends_at)
        END AS drain_until,
    g.version
   FROM grants_grant g
     JOIN accounts_subject s ON s.id = g.beneficiary_id;
