"""Who leaves an orchestrator has no session there any more: not the browser that forgot it, nor whoever copied it."""

from typing import ClassVar

from django.db import migrations

LEAVE = """
CREATE FUNCTION gate_leave(session_digest bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE session public.grants_credential;
BEGIN
    SELECT c.* INTO session FROM public.grants_credential c
        WHERE c.digest = session_digest AND c.kind = 'gate_session' AND c.revoked_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE public.grants_credential c SET revoked_at = public.stint_now() WHERE c.id = session.id;
    PERFORM public.audit_append(
        'gate.left', 'S-' || session.subject_id,
        convert_to(format(
            '{"connection":%s,"credentials":[%s],"subject":%s}', session.connection_id, session.id, session.subject_id
        ), 'UTF8'),
        '{}', '{}', '{}', '{}', ARRAY[session.id]
    );
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION gate_leave(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gate_leave(bytea) TO stint_gate;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0012_spent_tickets")]
    operations: ClassVar = [migrations.RunSQL(LEAVE, migrations.RunSQL.noop)]
