"""Django's PostgreSQL, with what Stint asks of it: a role that cannot change the record, an end to waiting."""
