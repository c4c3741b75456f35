-- A vote is taken back once, and only before the request is decided.
CREATE OR REPLACE FUNCTION public.grants_decision_superseded()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF OLD.superseded OR s IS DISTINCT FROM 'pending' THEN
        RAISE EXCEPTION 'decision % stands', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $function$;
