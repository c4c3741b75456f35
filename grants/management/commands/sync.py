"""`manage.py sync`: sync catalogs and the directory now, in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from grants.catalog.models import Connection
from grants.catalog.sync import sync_connection
from grants.identity.directory import sync_directory
from grants.policy.versions import mapped_roles


class Command(BaseCommand):
    help = "Reads the named connections now; without a name all, and the people of the providers."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="connections, or the identity provider, to sync")
        parser.add_argument(
            "--accept-vanished",
            action="store_true",
            help="retire what vanished, however much it is (names needed)",
        )

    @override
    def handle(self, *args: Any, slugs: list[str], accept_vanished: bool, **options: Any) -> None:
        if accept_vanished and not slugs:
            raise CommandError("Name the connection (or identity provider) whose vanished ones you accept.")
        connections = Connection.objects.order_by("slug")
        known = settings.ENV.providers
        providers = [provider for slug, provider in known.items() if not slugs or slug in slugs]
        if slugs:
            connections = connections.filter(slug__in=slugs)
            if unknown := set(slugs) - {row.slug for row in connections} - set(known):
                raise CommandError(f"There is no connection {', '.join(sorted(unknown))}.")
        failed = False
        for connection in connections:
            outcome = sync_connection(connection, accept_vanished=accept_vanished, by="cli")
            failed = failed or not outcome.ok
            self.stdout.write(outcome.sentence)
        for provider in providers:
            directory = sync_directory(provider, mapped=mapped_roles(), accept_vanished=accept_vanished)
            failed = failed or not directory.ok
            self.stdout.write(directory.sentence)
        if failed:
            raise CommandError("Not everything is in sync.")
