-- The strong lock, because `state` is part of a key: votes queue here, the last one sees all others.
CREATE OR REPLACE FUNCTION public.grants_only_while_pending()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF s IS DISTINCT FROM 'pending' THEN
        RAISE EXCEPTION 'request % is not pending', NEW.request_id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $function$;
