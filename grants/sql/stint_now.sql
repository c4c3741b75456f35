-- The one clock. plpgsql, so that tests can replace it below whatever was planned with it.
CREATE OR REPLACE FUNCTION public.stint_now()
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
AS $function$ BEGIN RETURN clock_timestamp(); END $function$;
