"""Django finds a database's backend under this name."""

from __future__ import annotations

from functools import partial
from typing import Any, override

from django.db import OperationalError
from django.db.backends.postgresql import base

from portal.postgres.presence import PRESENCE
from portal.postgres.rights import APP_TOO_MUCH, refusal


class WrongRole(OperationalError):
    """The URL's role could change the record: nothing is served with it, whenever the database answers."""


class Away(OperationalError):
    """The database is known to be away, so nobody waits for a connection."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own. It waits for no database that is away, and takes no role that could change the record."""

    _role_is_fine = False  # asked once a process: rights are not given to a role that is running

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
