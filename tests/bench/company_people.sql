-- People, teams, machines and the catalog of a large company. Numbers come by a fixed stride, so each run is the same.
SET session_replication_role = replica;

INSERT INTO accounts_idp (id, slug, kind, issuer, client_id, error)
    VALUES (1, 'bench', 'keycloak', '$issuer', 'stint', '');
INSERT INTO accounts_team (id, slug) SELECT t, 'team-' || lpad(t::text, 3, '0') FROM generate_series(1, $teams) t;
INSERT INTO accounts_subject (id, kind, name, email, active, time_zone, version)
    SELECT p, 'person',
        (ARRAY['Ada','Ben','Chiara','Dmitri','Elif','Farid','Grace','Hana','Ivan','June','Kofi','Lena','Mateo','Nora',
               'Olga','Priya','Quinn','Rosa','Sven','Tomasz'])[1 + p % 20]
        || ' ' || (ARRAY['Okafor','Rossi','Novak','Silva','Khan','Meyer','Sato','Haddad','Jensen','Kowalski','Larsen',
                         'Moreau','Nguyen'])[1 + p % 13] || ' ' || p,
        'person' || p || '@example.org', true, '', 1
    FROM generate_series(1, $people) p;
INSERT INTO accounts_identity (subject_id, idp_id, external_id, username)
    SELECT p, 1, 'id-' || p, 'person' || p FROM generate_series(1, $people) p;
INSERT INTO accounts_membership (team_id, subject_id, source)
    SELECT 1 + p % $teams, p, 'directory' FROM generate_series(1, $people) p
    UNION SELECT 1 + p * 7 % $teams, p, 'directory' FROM generate_series(1, $people, 3) p;
INSERT INTO accounts_subject (id, kind, name, email, active, time_zone, version, team_id)
    SELECT $people + t, 'service', 'worker-' || t, '', true, '', 1, t FROM generate_series(1, $teams) t;
INSERT INTO accounts_portalrole (subject_id, role, source) VALUES ($admin, 'admin', 'claim'), ($auditor, 'auditor', 'claim');

INSERT INTO grants_connection (id, slug, kind, url, host, environment, owner_team, secret_ref, version, seen_at)
    SELECT c, 'prefect-' || lpad(c::text, 2, '0'), 'prefect', 'http://127.0.0.1:1/api', 'prefect-' || c || '.example.org',
        (ARRAY['production','staging','development'])[1 + c % 3], 'team-' || lpad((1 + c)::text, 3, '0'), '', 1, now()
    FROM generate_series(1, $connections) c;
-- The first of each connection is its server, then come pools, then blocks and deployments.
WITH made AS (
    SELECT r, 1 + (r - 1) % $connections AS c, 1 + (r - 1) / $connections AS n FROM generate_series(1, $resources) r
), kinds AS (
    SELECT *, CASE WHEN n = 1 THEN 'server' WHEN n <= 51 THEN 'pool' WHEN n % 8 = 0 THEN 'block' ELSE 'deployment' END AS kind,
        ($domains)[1 + r * 7 % 400] AS domain
    FROM made
)
INSERT INTO grants_resource (id, connection_id, kind, remote_id, name, description, parent_id, tags, seen_at, retired_at, version)
    SELECT r, c, kind, 'remote-' || r,
        CASE kind WHEN 'server' THEN 'prefect-' || lpad(c::text, 2, '0') WHEN 'pool' THEN domain || '-pool-' || n
             WHEN 'block' THEN 'secret/' || domain || '-' || n
             ELSE domain || '-' || n || '/' || (ARRAY['prod','adhoc','backfill'])[1 + r % 3] END,
        CASE WHEN r % 3 = 0 THEN 'Loads ' || domain || ' into the warehouse, part ' || n ELSE '' END,
        CASE kind WHEN 'server' THEN NULL WHEN 'pool' THEN c WHEN 'block' THEN c
             ELSE c + $connections * (1 + r % 50) END,
        ARRAY[(ARRAY['hourly','daily','weekly'])[1 + r % 3]]
            || CASE WHEN r % 5 = 0 THEN ARRAY['pii'] ELSE '{}' END || CASE WHEN r % 11 = 0 THEN ARRAY['sox'] ELSE '{}' END,
        now(), CASE WHEN n > 60 AND r % 50 = 0 THEN now() END, 1
    FROM kinds;
UPDATE grants_resource SET parent_id = NULL WHERE parent_id > $resources;

SELECT setval(pg_get_serial_sequence(t, 'id'), 10 * ($people + $resources))
    FROM unnest(ARRAY['accounts_idp','accounts_team','accounts_subject','grants_connection','grants_resource']) t;
INSERT INTO grants_processbeat (name, at, version) VALUES ('worker bench', now() + interval '100 days', '0');
