-- Cut at what is neither letter nor digit; a lexeme has 2 kB at most. Not to_tsvector(): its parser takes orders/prod for
-- a path and 8s for a number.
CREATE OR REPLACE FUNCTION public.stint_words(name text, kind text, tags text[], owner text, description text)
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    SELECT array_to_tsvector(ARRAY(
        SELECT DISTINCT left(w, 100) FROM regexp_split_to_table(
            lower(concat_ws(' ', name, kind, array_to_string(tags, ' '), owner, left(description, 4000))),
            '[^[:alnum:]]+') AS w
        WHERE w <> ''
    ))
$function$;
