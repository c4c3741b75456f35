-- Nothing is added to what somebody has decided on.
CREATE OR REPLACE FUNCTION public.grants_item_only_before_decisions()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE s text;
BEGIN
    SELECT state INTO s FROM public.grants_request WHERE id = NEW.request_id FOR UPDATE;
    IF s IS DISTINCT FROM 'pending'
       OR EXISTS (SELECT FROM public.grants_decision d WHERE d.request_id = NEW.request_id) THEN
        RAISE EXCEPTION 'request % takes no more items', NEW.request_id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $function$;
