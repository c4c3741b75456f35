"""The database's clock for accounts. Other packages use grants.clock, which is above this one."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func


class StintNow(Func):
    """stint_now() in a query. Unlike SQL's now() it is read at each evaluation; tests replace its body."""

    function = "stint_now"
    output_field = DateTimeField()
    arity = 0


def now() -> datetime:
    """Return the database's time, aware UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT stint_now()")
        at: datetime = cursor.fetchone()[0]
    return at
