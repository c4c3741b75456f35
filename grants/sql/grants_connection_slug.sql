-- The slug of a connection is in URLs, roles and policies.
CREATE OR REPLACE FUNCTION public.grants_connection_slug()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN RAISE EXCEPTION 'the slug of a connection never changes' USING ERRCODE = 'ST002'; END $function$;
