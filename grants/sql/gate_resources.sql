CREATE OR REPLACE VIEW gate_resources AS
 SELECT id,
    connection_id,
    kind,
    remote_id,
    name,
    retired_at IS NOT NULL AS retired,
    version
   FROM grants_resource;
