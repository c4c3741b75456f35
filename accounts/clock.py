"""The database's clock, for accounts: it lies below grants.clock, where everybody else reads it."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func


class StintNow(Func):
    """stint_now() in a query: read at each evaluation, unlike SQL's now(); tests replace its body."""

    function = "stint_now"
    output_field = DateTimeField()
    arity = 0


def now() -> datetime:
    """The database's time, aware UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT stint_now()")
        at: datetime = cursor.fetchone()[0]
    return at
