-- The moves of a binding (docs/model.md). found_before is judged once: it changes only while nothing is given, and when a
-- role that was held before is seen gone.
CREATE OR REPLACE FUNCTION public.grants_rolebinding_moves()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.phase <> 'absent' OR NEW.found_before IS NOT NULL THEN
            RAISE EXCEPTION 'a binding is born absent' USING ERRCODE = 'ST003';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.phase <> NEW.phase AND (OLD.phase, NEW.phase) NOT IN (
        ('absent', 'adding'), ('adding', 'present'), ('adding', 'removing'), ('adding', 'kept'),
        ('present', 'removing'), ('present', 'kept'), ('kept', 'present'), ('kept', 'absent'),
        ('removing', 'absent'), ('removing', 'adding')
    ) THEN
        RAISE EXCEPTION 'binding % cannot go from % to %', OLD.id, OLD.phase, NEW.phase USING ERRCODE = 'ST003';
    END IF;
    IF OLD.found_before IS DISTINCT FROM NEW.found_before
       AND OLD.phase <> 'absent' AND NOT (OLD.phase = 'kept' AND NEW.phase = 'absent') THEN
        RAISE EXCEPTION 'binding %: what was found before is not judged again', OLD.id USING ERRCODE = 'ST003';
    END IF;
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'binding %: a generation only grows', OLD.id USING ERRCODE = 'ST003';
    END IF;
    RETURN NEW;
END $function$;
