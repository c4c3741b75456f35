-- The record, and policies that were applied, are only ever added to.
CREATE OR REPLACE FUNCTION public.audit_refuse()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN RAISE EXCEPTION 'the record is only ever added to' USING ERRCODE = 'ST001'; END $function$;
