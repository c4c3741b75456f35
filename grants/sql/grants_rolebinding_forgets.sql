-- What was kept and is gone is forgotten: a role that is there later is nobody's until it is looked at again.
CREATE OR REPLACE FUNCTION public.grants_rolebinding_forgets()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NEW.found_before IS NOT NULL THEN
        RAISE EXCEPTION 'binding %: what was kept and is gone is forgotten', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $function$;
