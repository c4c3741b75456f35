"""`manage.py schema`: print what docs/schema.sql is to be, from the database of the settings."""

from __future__ import annotations

from typing import Any, override

from django.core.management.base import BaseCommand
from django.db import connection

from grants import schema


class Command(BaseCommand):
    help = "Prints the tables, constraints, indexes, triggers and rights that this database has."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            self.stdout.write(schema.dump(cursor), ending="")
