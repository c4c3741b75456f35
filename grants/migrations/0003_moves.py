"""Composite keys and triggers: who asked cannot be forged, nothing is granted that was not asked and approved."""

from typing import ClassVar

from django.db import migrations

KEYS = """
ALTER TABLE grants_requestitem ADD CONSTRAINT item_of_request
    FOREIGN KEY (request_id, beneficiary_id, state) REFERENCES grants_request (id, beneficiary_id, state)
    ON UPDATE CASCADE;
ALTER TABLE grants_decision ADD CONSTRAINT decision_of_request
    FOREIGN KEY (request_id, requester_id, beneficiary_id) REFERENCES grants_request (id, requester_id, beneficiary_id);
ALTER TABLE grants_grant ADD CONSTRAINT grant_of_approved_item
    FOREIGN KEY (request_id, beneficiary_id, resource_id, level, request_state)
    REFERENCES grants_requestitem (request_id, beneficiary_id, resource_id, level, state);
ALTER TABLE grants_grant ADD CONSTRAINT grant_as_long_as_asked
    FOREIGN KEY (request_id, asked) REFERENCES grants_request (id, duration);
"""

# A request is born pending and moves once; approved only when every stage has its approvals and nobody said no.
# A stage without `need` is unmet: NULL compares to nothing.
REQUEST = """
CREATE FUNCTION grants_request_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a request is born pending' USING ERRCODE = 'ST003';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'pending' THEN
        RAISE EXCEPTION 'request % is % already', OLD.id, OLD.state USING ERRCODE = 'ST003';
    END IF;
    IF NEW.state = 'approved' THEN
        IF jsonb_typeof(NEW.stages) IS DISTINCT FROM 'array' THEN
            RAISE EXCEPTION 'request % has no stages', OLD.id USING ERRCODE = 'ST003';
        END IF;
        IF EXISTS (SELECT FROM public.grants_decision d
                   WHERE d.request_id = OLD.id AND d.verdict = 'deny' AND NOT d.superseded) THEN
            RAISE EXCEPTION 'request % was denied', OLD.id USING ERRCODE = 'ST003';
        END IF;
        IF EXISTS (
            SELECT FROM jsonb_array_elements(NEW.stages) WITH ORDINALITY AS s (stage, n)
            WHERE ((SELECT count(*) FROM public.grants_decision d
                    WHERE d.request_id = OLD.id AND d.stage = s.n - 1 AND d.verdict = 'approve' AND NOT d.superseded)
                   >= (s.stage ->> 'need')::int) IS NOT TRUE
               OR (s.stage ->> 'need')::int < 1
        ) THEN
            RAISE EXCEPTION 'request % lacks approvals', OLD.id USING ERRCODE = 'ST003';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE OF state ON grants_request
    FOR EACH ROW EXECUTE FUNCTION grants_request_moves();
"""

# The strong lock, because `state` is part of a key: votes queue here, the last one sees all others.
PENDING = """
CREATE FUNCTION grants_only_while_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF s IS DISTINCT FROM 'pending' THEN
        RAISE EXCEPTION 'request % is not pending', NEW.request_id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_while_pending BEFORE INSERT ON grants_decision
    FOR EACH ROW EXECUTE FUNCTION grants_only_while_pending();
CREATE FUNCTION grants_item_only_before_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF s IS DISTINCT FROM 'pending'
       OR EXISTS (SELECT FROM public.grants_decision d WHERE d.request_id = NEW.request_id) THEN
        RAISE EXCEPTION 'request % takes no more items', NEW.request_id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_before_decisions BEFORE INSERT ON grants_requestitem
    FOR EACH ROW EXECUTE FUNCTION grants_item_only_before_decisions();
CREATE FUNCTION grants_decision_superseded() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF OLD.superseded OR s IS DISTINCT FROM 'pending' THEN
        RAISE EXCEPTION 'decision % stands', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER superseded_once BEFORE UPDATE ON grants_decision
    FOR EACH ROW EXECUTE FUNCTION grants_decision_superseded();
"""

GRANT = """
CREATE FUNCTION grants_grant_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'grant % only ends earlier, and closed is final', OLD.id USING ERRCODE = 'ST003'; END $$;
CREATE TRIGGER only_earlier BEFORE UPDATE ON grants_grant FOR EACH ROW
    WHEN ((OLD.ended_at IS NOT NULL AND (NEW.ended_at > OLD.ended_at) IS NOT FALSE)
          OR (OLD.closed_at IS NOT NULL AND (NEW.closed_at, NEW.end_reason, NEW.ended_at)
              IS DISTINCT FROM (OLD.closed_at, OLD.end_reason, OLD.ended_at)))
    EXECUTE FUNCTION grants_grant_final();
"""

# Deferred keys lock the referenced row at COMMIT, after the head: two actions then wait for each other.
IMMEDIATE = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS t, conname AS n FROM pg_constraint WHERE contype = 'f' AND condeferrable
    LOOP EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE', c.t, c.n); END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("grants", "0002_record"),
        # IMMEDIATE is for every table there is.
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sessions", "0001_initial"),
    ]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (KEYS, REQUEST, PENDING, GRANT, IMMEDIATE)
    ]
