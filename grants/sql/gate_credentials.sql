-- Without tickets: they are redeemed by a function.
CREATE OR REPLACE VIEW gate_credentials AS
 SELECT id,
    kind,
    digest,
    subject_id,
    connection_id,
    grant_id,
    expires_at,
    revoked_at IS NOT NULL AS revoked,
    version
   FROM grants_credential
  WHERE kind <> 'ticket'::text;
