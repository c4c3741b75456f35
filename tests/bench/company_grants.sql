-- Requests, items, decisions, grants, bindings and tokens of $grants grants over three years, and what the record says
-- of them: made_event, to be chained and copied by who calls this.
SET session_replication_role = replica;
SET synchronous_commit = off;

-- One line a request: the oldest first. Of 100 the last eight were never granted; the newest are pending, the newest
-- granted are live. Half of all are about one resource in twenty.
CREATE UNLOGGED TABLE made AS
WITH rows AS (SELECT i, i > $requests - $pending AS pending FROM generate_series(1, $requests) i)
SELECT i AS id, 1 + (i::bigint * 7919) % $people AS person,
    1 + CASE WHEN i % 2 = 0 THEN (i::bigint * 104729) % $resources
             ELSE (i::bigint * 104729) % ($resources / 20) * 20 END AS resource,
    CASE WHEN pending THEN 'pending' WHEN i % 100 < 92 THEN 'approved' WHEN i % 100 < 95 THEN 'denied'
         WHEN i % 100 < 97 THEN 'withdrawn' ELSE 'lapsed' END AS state,
    NOT pending AND i % 100 < 92 AND i > $requests - $pending - $live AS live,
    CASE WHEN i > $requests - $pending - $live THEN now() - interval '1 second' * ($requests - i)
         ELSE now() - interval '3 days' - interval '1095 days' * ($requests - i) / $requests END AS asked,
    CASE WHEN i > $requests - $pending - $live THEN interval '20 days' + interval '1 minute' * (i % 10000)
         ELSE interval '1 minute' * (30 + i % 450) END AS lasts
FROM rows;
UPDATE made SET person = 1 + person % $people WHERE person = 1 + (id * 31) % $deciders;

CREATE UNLOGGED TABLE made_item AS
SELECT m.*, CASE r.kind WHEN 'block' THEN 'view' ELSE (ARRAY['view','run','operate'])[1 + m.id % 3] END AS level
FROM made m JOIN grants_resource r ON r.id = m.resource;

INSERT INTO grants_request (id, requester_id, beneficiary_id, state, stages, policy_version_id, reason, asked_at, lapses_at,
        duration, idempotency_key, closed_at)
    SELECT id, person, person, state,
        jsonb_build_array(jsonb_build_object('need', 1, 'from', '[{"kind": "owners", "value": ""}]'::jsonb,
            'resources', jsonb_build_array(resource), 'rules', '["everywhere"]'::jsonb, 'fallback', '[]'::jsonb)),
        $policy,
        (ARRAY['The nightly run died on a schema change','Backfill of March after the outage','A column is missing in',
               'Re-run with the new parameters','Look at the logs of last night'])[1 + id % 5] || ', ticket OPS-' || id,
        asked, asked + interval '90 days', lasts, 'bench-' || id,
        CASE WHEN state <> 'pending' THEN asked + interval '10 minutes' END
    FROM made ORDER BY id;
INSERT INTO grants_requestitem (id, request_id, beneficiary_id, resource_id, level, state)
    SELECT id, id, person, resource, level, state FROM made_item
    ON CONFLICT DO NOTHING;
INSERT INTO grants_decision (request_id, requester_id, beneficiary_id, stage, approver_id, verdict, note,
        policy_version_id, superseded, at)
    SELECT id, person, person, 0, 1 + (id * 31) % $deciders, CASE state WHEN 'denied' THEN 'deny' ELSE 'approve' END,
        CASE WHEN id % 4 = 0 THEN 'Go ahead, and tell us how it went.' ELSE '' END, $policy, false,
        asked + interval '10 minutes'
    FROM made WHERE state IN ('approved', 'denied') ORDER BY id;

CREATE UNLOGGED TABLE made_event AS
WITH told AS (
    SELECT asked AS at, 'request.asked' AS verb, 'S-' || person AS actor, 1 AS step, id,
        '{"items":["' || resource || ':' || level || '"],"minutes":' || extract(epoch FROM lasts)::int / 60
        || ',"policy":$policy,"request":' || id || '}' AS payload
    FROM made_item
    UNION ALL
    SELECT asked + interval '10 minutes', 'request.' || state, 'S-' || 1 + (id * 31) % $deciders, 2, id,
        CASE state WHEN 'approved' THEN '{"decision":' || id || ',"grants":[' || id || '],"request":' || id || ',"stage":0}'
             ELSE '{"decision":' || id || ',"request":' || id || ',"stage":0}' END
    FROM made WHERE state IN ('approved', 'denied')
    UNION ALL
    SELECT asked + interval '10 minutes' + lasts, 'grant.elapsed', 'sweeper', 3, id, '{"grant":' || id || ',"grants":[' || id || ']}'
    FROM made WHERE state = 'approved' AND NOT live
)
SELECT (SELECT seq FROM grants_audithead) + row_number() OVER (ORDER BY at, id, step) AS seq, * FROM told;
CREATE INDEX ON made_event (id, step);

-- An elapsed grant bears the number of the event that closed it, a live one that of its approval.
INSERT INTO grants_grant (id, request_id, asked, beneficiary_id, resource_id, level, idp_id, role, starts_at, ends_at,
        drain_until, closed_at, end_reason, version)
    SELECT m.id, m.id, m.lasts, person, resource, level, 1, left(c.slug || ':' || r.kind || ':' || r.name || ':' || level, 255),
        asked + interval '10 minutes', asked + interval '10 minutes' + lasts, asked + interval '10 minutes' + lasts,
        CASE WHEN NOT live THEN asked + interval '10 minutes' + lasts END, CASE WHEN NOT live THEN 'elapsed' END, e.seq
    FROM made_item m JOIN grants_resource r ON r.id = m.resource JOIN grants_connection c ON c.id = r.connection_id
        JOIN made_event e ON e.id = m.id AND e.step = CASE WHEN live THEN 2 ELSE 3 END
    WHERE m.state = 'approved' ORDER BY m.id;
INSERT INTO grants_rolebinding (idp_id, external_id, role, phase, found_before, want_until, due_at)
    SELECT 1, 'id-' || beneficiary_id, role, 'present', false, max(ends_at), max(ends_at)
    FROM grants_grant WHERE closed_at IS NULL GROUP BY 2, 3;
INSERT INTO grants_rolebinding (idp_id, external_id, role)
    SELECT DISTINCT 1, 'id-' || beneficiary_id, role FROM grants_grant WHERE closed_at IS NOT NULL AND id % 4 = 0
    ON CONFLICT DO NOTHING;
INSERT INTO grants_credential (kind, key_id, digest, subject_id, connection_id, grant_id, grant_until, issued_at, expires_at, version)
    SELECT 'token', lpad(g.id::text, 16, '0'), sha256(g.id::text::bytea), beneficiary_id, r.connection_id, g.id, drain_until,
        starts_at, ends_at, g.version
    FROM grants_grant g JOIN grants_resource r ON r.id = g.resource_id WHERE closed_at IS NULL;

SELECT setval(pg_get_serial_sequence(t, 'id'), 10 * $requests)
    FROM unnest(ARRAY['grants_request','grants_requestitem','grants_decision','grants_grant']) t;
DROP TABLE made, made_item;
