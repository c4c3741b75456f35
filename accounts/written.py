"""Queries whose SQL is written once a process: Django takes longer to write one than PostgreSQL to answer it.

What changes from call to call is given by name; nothing of an answer is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, override

from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Func, QuerySet, Subquery, Value


class Given(Value):
    """Stands in a query for the value of this name."""

    def __init__(self, name: str, output_field: models.Field[Any, Any]) -> None:
        super().__init__(name, output_field)
        self.name = name

    @override
    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return f"%s::{self.output_field.cast_db_type(connection)}", [self]


class Written[Row]:
    """`Written(lambda: Grant.objects.filter(beneficiary=a_row("who")))(who=7)`: the rows of that, read now.

    `build` is called at the first call: the query that it makes depends on nothing, but for what is Given.
    """

    def __init__(self, build: Callable[[], QuerySet[Any, Row]]) -> None:
        self._build = build

    def __call__(self, **given: object) -> list[Row]:
        queryset, written, sql, places = self._written
        params = tuple(given[each.name] if isinstance(each, Given) else each for each in places)
        compiler, query = copy(written), copy(queryset.query)
        compiler.connection = connections[DEFAULT_DB_ALIAS]  # each thread has its own
        compiler.as_sql = lambda: (sql, params)
        query.get_compiler = lambda *_, **__: compiler  # type: ignore[method-assign]
        reading = type(queryset)(model=queryset.model, query=query)
        reading._iterable_class = queryset._iterable_class  # noqa: SLF001
        return list(reading)

    @cached_property
    def _written(self) -> tuple[QuerySet[Any, Row], Any, str, tuple[Any, ...]]:
        queryset = self._build()
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, places = compiler.as_sql()
        return queryset, compiler, sql, places


def read_along(one: models.Model, name: str, rows: Sequence[models.Model]) -> None:
    """These are the rows of `one.name`: as prefetch_related() leaves them, had it read them."""
    queryset = getattr(one, name).all()
    queryset._result_cache, queryset._prefetch_done = list(rows), True  # noqa: SLF001
    kept = one.__dict__.setdefault("_prefetched_objects_cache", {})
    kept[name] = queryset


def has_read(one: models.Model, name: str) -> bool:
    """Whether the rows of `one.name` were read along with it."""
    return name in one.__dict__.get("_prefetched_objects_cache", ())


def among(column: str, values: Given | Subquery, sign: str = "=") -> Func:
    """Like `in`, for an array: its text is the same for any number of values, and PostgreSQL reads a subquery first."""
    return Func(
        column, values, template="%(expressions)s)", arg_joiner=f" {sign} ANY (", output_field=models.BooleanField()
    )


def a_row(name: str) -> Given:
    """The id of a row."""
    return Given(name, models.BigIntegerField())


def a_text(name: str) -> Given:
    return Given(name, models.TextField())


def rows(name: str) -> Given:
    """Ids of rows."""
    return Given(name, ArrayField(models.BigIntegerField()))


def texts(name: str) -> Given:
    return Given(name, ArrayField(models.TextField()))


def a_time(name: str) -> Given:
    return Given(name, models.DateTimeField())
