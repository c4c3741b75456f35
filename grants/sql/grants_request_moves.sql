-- A request is born pending and moves once; approved only when every stage has its approvals and nobody said no.
-- A stage without `need` is unmet: NULL compares to nothing.
CREATE OR REPLACE FUNCTION public.grants_request_moves()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a request is born pending' USING ERRCODE = 'ST003';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'pending' THEN
        RAISE EXCEPTION 'request % is % already', OLD.id, OLD.state USING ERRCODE = 'ST003';
    END IF;
    IF NEW.state = 'approved' THEN
        IF jsonb_typeof(NEW.stages) IS DISTINCT FROM 'array' THEN
            RAISE EXCEPTION 'request % has no stages', OLD.id USING ERRCODE = 'ST003';
        END IF;
        IF EXISTS (SELECT FROM public.grants_decision d
                   WHERE d.request_id = OLD.id AND d.verdict = 'deny' AND NOT d.superseded) THEN
            RAISE EXCEPTION 'request % was denied', OLD.id USING ERRCODE = 'ST003';
        END IF;
        IF EXISTS (
            SELECT FROM jsonb_array_elements(NEW.stages) WITH ORDINALITY AS s (stage, n)
            WHERE ((SELECT count(*) FROM public.grants_decision d
                    WHERE d.request_id = OLD.id AND d.stage = s.n - 1 AND d.verdict = 'approve' AND NOT d.superseded)
                   >= (s.stage ->> 'need')::int) IS NOT TRUE
               OR (s.stage ->> 'need')::int < 1
        ) THEN
            RAISE EXCEPTION 'request % lacks approvals', OLD.id USING ERRCODE = 'ST003';
        END IF;
    END IF;
    RETURN NEW;
END $function$;
