"""`manage.py migrate`: migrate as the owner of the tables when STINT_DATABASE_OWNER_URL is set."""

from __future__ import annotations

from typing import override

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands.migrate import Command as Migrate


class Command(Migrate):
    @override
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        if "owner" in settings.DATABASES:
            parser.set_defaults(database="owner")
