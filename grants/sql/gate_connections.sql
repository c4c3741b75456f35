CREATE OR REPLACE VIEW gate_connections AS
 SELECT id,
    slug,
    kind,
    url,
    host,
    environment,
    secret_ref,
    version
   FROM grants_connection;
