CREATE OR REPLACE VIEW gate_subjects AS
 SELECT id,
    kind,
    active,
    version
   FROM accounts_subject;
