-- What the gate polls: the number of the newest event, the time, and the hash by which it notices a restored backup.
CREATE OR REPLACE VIEW gate_head AS
 SELECT seq,
    stint_now() AS now,
    hash
   FROM grants_audithead h;
