"""Django's PostgreSQL backend, which also refuses a role that could change the record and limits every wait."""
