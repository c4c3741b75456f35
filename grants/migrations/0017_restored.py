"""A restored backup is noticed: what a gate compares, and the one event that says that a backup was restored."""

from typing import ClassVar

from django.db import migrations

# In the tail there is no other way from a remembered head to the present one: the same event, or a declared restore
# after it. Numbers are never used again after a restore, so a restore that a gate has seen is never after its head.
CONTINUES = """
CREATE INDEX auditevent_restored ON grants_auditevent (seq) WHERE verb = 'record.restored';

CREATE OR REPLACE VIEW gate_head AS
    SELECT h.seq, stint_now() AS now, h.hash FROM grants_audithead h;

CREATE FUNCTION gate_continues(known bigint, known_hash bytea) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
SELECT CASE
    WHEN known = 0 OR EXISTS (SELECT FROM public.grants_auditevent e WHERE e.seq = known AND e.hash = known_hash)
        THEN 'yes'
    WHEN EXISTS (SELECT FROM public.grants_auditevent e WHERE e.verb = 'record.restored' AND e.seq > known)
        THEN 'restored'
    ELSE 'no' END
$$;
REVOKE ALL ON FUNCTION gate_continues(bigint, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gate_continues(bigint, bytea) TO stint_gate;
"""

# The owner's alone: who can write only as the app cannot make a gate believe in a restore. Numbers of what was lost
# are left unused, so that an old link to R-17 opens nothing else.
RESTORED = """
CREATE FUNCTION audit_restored(next_seq bigint, payload bytea) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h public.grants_audithead;
    t timestamptz;
    d bytea;
    x bigint := pg_current_xact_id()::text::bigint;
    verb constant text := 'record.restored';
    actor constant text := 'operator';
    ids text;
BEGIN
    SELECT * INTO STRICT h FROM public.grants_audithead FOR NO KEY UPDATE;
    t := public.stint_now();
    d := sha256(
        h.hash || int8send(next_seq) || int8send((extract(epoch FROM t) * 1000000)::bigint)
        || int4send(octet_length(verb)) || convert_to(verb, 'UTF8')
        || int4send(octet_length(actor)) || convert_to(actor, 'UTF8') || payload
    );
    INSERT INTO public.grants_auditevent (seq, at, verb, actor, payload, prev, hash)
        VALUES (next_seq, t, verb, actor, payload, h.hash, d);
    UPDATE public.grants_audithead SET seq = next_seq, hash = d, xact = x,
        base = CASE WHEN h.xact = x THEN h.base ELSE h.seq END;
    FOREACH ids IN ARRAY ARRAY['grants_request', 'grants_grant', 'grants_credential', 'accounts_subject'] LOOP
        ids := pg_get_serial_sequence('public.' || ids, 'id');
        PERFORM setval(ids::regclass, nextval(ids::regclass) + 10000);
    END LOOP;
    PERFORM pg_notify('stint', next_seq::text);
    RETURN next_seq;
END $$;
REVOKE ALL ON FUNCTION audit_restored(bigint, bytea) FROM PUBLIC;

CREATE FUNCTION audit_restored_jumps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <= (SELECT seq FROM public.grants_audithead) + 1 THEN
        RAISE EXCEPTION 'only the owner says that a backup was restored' USING ERRCODE = 'ST001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER restored_jumps BEFORE INSERT ON grants_auditevent
    FOR EACH ROW WHEN (NEW.verb = 'record.restored') EXECUTE FUNCTION audit_restored_jumps();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0016_binding_urgency")]
    operations: ClassVar = [migrations.RunSQL(sql) for sql in (CONTINUES, RESTORED)]
