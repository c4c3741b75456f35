-- A credential is used once and revoked once, and a token is for the connection of its grant.
CREATE OR REPLACE FUNCTION public.grants_credential_moves()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
END $function$;
