"""The one clock, and the record: append, stamp, refuse changes. Recipes and traps: facts/model.md."""

from typing import ClassVar

from django.db import migrations

CLOCK = """
CREATE FUNCTION stint_now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$ BEGIN RETURN clock_timestamp(); END $$;
"""

HEAD = """
ALTER TABLE grants_audithead ADD CONSTRAINT audithead_one_row CHECK (id = 1);
INSERT INTO grants_audithead (id, seq, hash, xact, base) VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, 0);
"""

# The only writer of events, of the head and of `version`. Locks rows by id, then the head, then nothing.
APPEND = """
CREATE FUNCTION audit_append(
    verb text, actor text, payload bytea, grants bigint[], subjects bigint[], resources bigint[], connections bigint[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h public.grants_audithead;
    n bigint;
    t timestamptz;
    d bytea;
    x bigint := pg_current_xact_id()::text::bigint;
BEGIN
    PERFORM FROM public.grants_grant r WHERE r.id = ANY (grants) ORDER BY r.id FOR NO KEY UPDATE;
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
    UPDATE public.accounts_subject r SET version = n WHERE r.id = ANY (subjects);
    UPDATE public.grants_resource r SET version = n WHERE r.id = ANY (resources);
    UPDATE public.grants_connection r SET version = n WHERE r.id = ANY (connections);
    PERFORM pg_notify('stint', n::text);
    RETURN n;
END $$;
"""

UNCHANGEABLE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the record is only ever added to' USING ERRCODE = 'ST001'; END $$;
CREATE TRIGGER unchangeable BEFORE UPDATE OR DELETE OR TRUNCATE ON grants_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER added_only BEFORE UPDATE OR DELETE OR TRUNCATE ON grants_policyversion
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER one_row BEFORE DELETE OR TRUNCATE ON grants_audithead
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""


def stamped(table: str, when: str, subject: str = "id", deletes: bool = False) -> str:
    """SQL: a commit that changed `table` without stamping its row (or its subject's) is refused.

    One function a table: a generic one with EXECUTE costs five times as much. SECURITY DEFINER, because
    before PostgreSQL 18 a deferred trigger runs as whoever commits.
    """
    target = "accounts_subject" if subject != "id" else table
    function = f"{table}_stamped"
    row = f"coalesce(NEW.{subject}, OLD.{subject})" if deletes else f"NEW.{subject}"
    return f"""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.{target} r, public.grants_audithead h
        WHERE r.id = {row} AND r.version > h.base AND r.version <= h.seq
            AND h.xact = pg_current_xact_id()::text::bigint
    ) THEN RETURN NULL; END IF;
    RAISE EXCEPTION '% changed but not recorded', TG_TABLE_NAME USING ERRCODE = 'ST004';
END $$;
CREATE CONSTRAINT TRIGGER stamped AFTER {when} ON {table}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}();
"""


STAMPS = (
    stamped("grants_grant", "INSERT OR UPDATE OF ended_at, closed_at, end_reason")
    + stamped("grants_resource", "INSERT OR UPDATE OF connection_id, kind, remote_id, name, parent_id, retired_at")
    + stamped("grants_connection", "INSERT OR UPDATE OF slug, kind, url, environment, owner_team, secret_ref")
    + stamped("accounts_subject", "INSERT OR UPDATE OF kind, active, team_id")
    + stamped(
        "accounts_identity",
        "INSERT OR UPDATE OF subject_id, idp_id, external_id OR DELETE",
        "subject_id",
        True,
    )
    + stamped("accounts_membership", "INSERT OR UPDATE OR DELETE", "subject_id", True)
)

SLUG = """
CREATE FUNCTION grants_connection_slug() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the slug of a connection never changes' USING ERRCODE = 'ST002'; END $$;
CREATE TRIGGER slug_immutable BEFORE UPDATE OF slug ON grants_connection
    FOR EACH ROW WHEN (OLD.slug IS DISTINCT FROM NEW.slug) EXECUTE FUNCTION grants_connection_slug();
"""

JOBS = """
INSERT INTO grants_cursor (name, seq, error) VALUES ('mail', 0, '');
INSERT INTO grants_duejob (name, due_at) VALUES ('mail', stint_now()), ('heads', stint_now());
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0001_tables")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop)
        for sql in (CLOCK, HEAD, APPEND, UNCHANGEABLE, STAMPS, SLUG, JOBS)
    ]
