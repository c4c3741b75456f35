"""Queries whose SQL is written once per process, because Django takes longer to write it than PostgreSQL to answer.

Values that change from call to call are passed by name. Results are not kept.
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
    """A placeholder in a query for the value passed under this name."""

    def __init__(self, name: str, output_field: models.Field[Any, Any]) -> None:
        super().__init__(name, output_field)
        self.name = name

    @override
    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return f"%s::{self.output_field.cast_db_type(connection)}", [self]


class Written[Row]:
    """A query with placeholders: `Written(lambda: Grant.objects.filter(beneficiary=a_row("pk")))(pk=7)` reads its rows.

    `build` runs once, at the first call, so its queryset must depend on nothing but its placeholders.
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
    """Attach these rows to `one.name`, as prefetch_related() would do."""
    queryset = getattr(one, name).all()
    queryset._result_cache, queryset._prefetch_done = list(rows), True  # noqa: SLF001
    kept = one.__dict__.setdefault("_prefetched_objects_cache", {})
    kept[name] = queryset


def has_read(one: models.Model, name: str) -> bool:
    """Are the rows of `one.name` attached already?"""
    return name in one.__dict__.get("_prefetched_objects_cache", ())


def among(column: str, values: Given | Subquery, sign: str = "=") -> Func:
    """Compare with any value of an array. Unlike `in`, its SQL is the same for any number of values."""
    return Func(
        column, values, template="%(expressions)s)", arg_joiner=f" {sign} ANY (", output_field=models.BooleanField()
    )


def a_row(name: str) -> Given:
    """A placeholder for the id of a row."""
    return Given(name, models.BigIntegerField())


def a_text(name: str) -> Given:
    return Given(name, models.TextField())


def rows(name: str) -> Given:
    """A placeholder for a list of ids."""
    return Given(name, ArrayField(models.BigIntegerField()))


def texts(name: str) -> Given:
    return Given(name, ArrayField(models.TextField()))


def a_time(name: str) -> Given:
    return Given(name, models.DateTimeField())
