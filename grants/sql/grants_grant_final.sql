-- A grant only ends earlier, and what is closed stays as it is.
CREATE OR REPLACE FUNCTION public.grants_grant_final()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN RAISE EXCEPTION 'grant % only ends earlier, and closed is final', OLD.id USING ERRCODE = 'ST003'; END $function$;
