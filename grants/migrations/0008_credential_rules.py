"""A credential belongs to its grant, is used and revoked once, and changes only with an event of the record."""

from typing import ClassVar

from django.db import migrations

# MATCH FULL: with one column NULL, a composite key would check nothing.
KEYS = """
ALTER TABLE grants_credential ADD CONSTRAINT credential_until_its_grant
    FOREIGN KEY (grant_id, grant_until) REFERENCES grants_grant (id, drain_until) MATCH FULL;
ALTER TABLE grants_credential ADD CONSTRAINT credential_of_who_has_the_grant
    FOREIGN KEY (grant_id, subject_id) REFERENCES grants_grant (id, beneficiary_id);
ALTER TABLE grants_gateusage ADD CONSTRAINT usage_words
    CHECK (length(gate) <= 100 AND length(route) <= 200 AND length(code) <= 40);
"""

MOVES = """
CREATE FUNCTION grants_credential_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.used_at IS NOT NULL OR NEW.revoked_at IS NOT NULL OR NEW.issued_at > public.stint_now() THEN
            RAISE EXCEPTION 'a credential is born now, unused' USING ERRCODE = 'ST003';
        END IF;
        IF NEW.grant_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.grants_grant g JOIN public.grants_resource r ON r.id = g.resource_id
            WHERE g.id = NEW.grant_id AND r.connection_id = NEW.connection_id
        ) THEN
            RAISE EXCEPTION 'a token is for the connection of its grant' USING ERRCODE = 'ST003';
        END IF;
        RETURN NEW;
    END IF;
    IF (OLD.used_at IS NOT NULL AND NEW.used_at IS DISTINCT FROM OLD.used_at)
       OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) THEN
        RAISE EXCEPTION 'credential % is used once and revoked once', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON grants_credential
    FOR EACH ROW EXECUTE FUNCTION grants_credential_moves();
"""

# As in 0002, with credentials; the default keeps calls of the release before working while workers are replaced.
APPEND = """
DROP FUNCTION audit_append(text, text, bytea, bigint[], bigint[], bigint[], bigint[]);
CREATE FUNCTION audit_append(
    verb text, actor text, payload bytea, grants bigint[], subjects bigint[], resources bigint[], connections bigint[],
    credentials bigint[] DEFAULT '{}'
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h public.grants_audithead;
    n bigint;
    t timestamptz;
    d bytea;
    x bigint := pg_current_xact_id()::text::bigint;
BEGIN
    PERFORM FROM public.grants_grant r WHERE r.id = ANY (grants) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_credential r WHERE r.id = ANY (credentials) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.accounts_subject r WHERE r.id = ANY (subjects) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_resource r WHERE r.id = ANY (resources) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM FROM public.grants_connection r WHERE r.id = ANY (connections) ORDER BY r.id FOR NO KEY UPDATE;
    SELECT * INTO STRICT h FROM public.grants_audithead FOR NO KEY UPDATE;
    n := h.seq + 1;
    t := public.stint_now();
    d := sha256(
        h.hash || int8send(n) || int8send((extract(epoch FROM t) * 1000000)::bigint)
        || int4send(octet_length(verb)) || convert_to(verb, 'UTF8')
        || int4send(octet_length(actor)) || convert_to(actor, 'UTF8') || payload
    );
    INSERT INTO public.grants_auditevent (seq, at, verb, actor, payload, prev, hash)
        VALUES (n, t, verb, actor, payload, h.hash, d);
    UPDATE public.grants_audithead SET seq = n, hash = d, xact = x,
        base = CASE WHEN h.xact = x THEN h.base ELSE h.seq END;
    UPDATE public.grants_grant r SET version = n WHERE r.id = ANY (grants);
    UPDATE public.grants_credential r SET version = n WHERE r.id = ANY (credentials);
    UPDATE public.accounts_subject r SET version = n WHERE r.id = ANY (subjects);
    UPDATE public.grants_resource r SET version = n WHERE r.id = ANY (resources);
    UPDATE public.grants_connection r SET version = n WHERE r.id = ANY (connections);
    PERFORM pg_notify('stint', n::text);
    RETURN n;
END $$;
"""

STAMPS = """
CREATE FUNCTION grants_credential_stamped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.grants_credential r, public.grants_audithead h
        WHERE r.id = NEW.id AND r.version > h.base AND r.version <= h.seq
            AND h.xact = pg_current_xact_id()::text::bigint
    ) THEN RETURN NULL; END IF;
    RAISE EXCEPTION '% changed but not recorded', TG_TABLE_NAME USING ERRCODE = 'ST004';
END $$;
CREATE CONSTRAINT TRIGGER stamped AFTER INSERT OR UPDATE OF used_at, revoked_at ON grants_credential
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION grants_credential_stamped();

DROP TRIGGER stamped ON grants_connection;
CREATE CONSTRAINT TRIGGER stamped
    AFTER INSERT OR UPDATE OF slug, kind, url, host, environment, owner_team, secret_ref ON grants_connection
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION grants_connection_stamped();
"""

# As in 0003: a deferred key would lock after the head of the record.
IMMEDIATE = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS t, conname AS n FROM pg_constraint
        WHERE contype = 'f' AND condeferrable
            AND conrelid IN ('grants_credential'::regclass, 'grants_gateusage'::regclass)
    LOOP EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE', c.t, c.n); END LOOP;
END $$;
"""

RIGHTS = {
    "grants_connection": (
        "SELECT, INSERT, UPDATE (kind, url, host, environment, owner_team, secret_ref, seen_at, error, held)"
    ),
    "grants_credential": "SELECT, INSERT, UPDATE (revoked_at)",
    "grants_gateusage": "SELECT",
}
GRANTS = "\n".join(
    [
        *(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items()),
        """
REVOKE ALL ON FUNCTION audit_append(text, text, bytea, bigint[], bigint[], bigint[], bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_append(text, text, bytea, bigint[], bigint[], bigint[], bigint[], bigint[])
    TO stint_app;
""",
    ]
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0007_credentials")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (KEYS, MOVES, APPEND, STAMPS, IMMEDIATE, GRANTS)
    ]
