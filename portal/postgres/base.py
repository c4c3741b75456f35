"""The database backend; Django looks for it under this module name."""

from __future__ import annotations

from functools import partial
from typing import Any, override

from django.db import OperationalError
from django.db.backends.postgresql import base

from portal.postgres.presence import PRESENCE
from portal.postgres.rights import APP_TOO_MUCH, refusal


class WrongRole(OperationalError):
    """The role of the URL could change the record, so no page is served with it."""


class Away(OperationalError):
    """The database is known to be down, so no thread waits for a connection."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend. It never waits for a database that is down, and refuses a role that could change the record."""

    _role_is_fine = False  # checked once for each process; a running role is not given more rights

    @override
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if PRESENCE.away():
            raise Away("the database does not answer")
        connection = PRESENCE.awaited(partial(super().get_new_connection, conn_params))
        if connection is None:
            raise Away("the database does not answer")
        PRESENCE.watch(connection)
        if self.alias == "default" and not DatabaseWrapper._role_is_fine:
            ((right,),) = connection.execute(APP_TOO_MUCH).fetchall()
            if right:
                connection.close()
                raise WrongRole(refusal("STINT_DATABASE_URL", "stint_app", right))
            connection.rollback()
            DatabaseWrapper._role_is_fine = True
        return connection
