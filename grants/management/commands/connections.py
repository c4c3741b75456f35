"""`manage.py connections apply FILE|list`: apply connections.yaml, or list the connections."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import NotAllowed
from grants.adapters.errors import AdapterError, Unsupported
from grants.catalog.connections import apply_connections
from grants.catalog.models import Connection
from grants.catalog.specs import ConnectionSpec
from grants.catalog.sync import server_version, version_warning
from grants.policy import connection_file
from grants.policy.connection_file import parse_connections
from grants.policy.yaml_marks import PolicyErrors


class Command(BaseCommand):
    requires_system_checks: tuple[str, ...] = ()  # made below: `schema` works without a database
    help = "Adds and changes connections by their slug, from a file."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        apply = actions.add_parser("apply", help="make the connections what a file says")
        apply.add_argument("file", type=Path, metavar="FILE")
        actions.add_parser("list", help="the connections and their last sync")
        actions.add_parser("schema", help="print what an editor checks the file against")

    @override
    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if action == "schema":
            self.stdout.write(json.dumps(connection_file.schema(), indent=2, ensure_ascii=False))
            return
        self.check()
        if action == "apply":
            self._apply(options["file"])
        else:
            self._list()

    def _apply(self, file: Path) -> None:
        try:
            specs = parse_connections(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} cannot be read: {error}") from None
        except PolicyErrors as errors:
            lines = [f"{file}:{problem.line}:{problem.column}: {problem.message}" for problem in errors.problems]
            raise CommandError("\n".join([*lines, "Nothing was changed."])) from None
        notes = [note for spec in specs if (note := self._version_note(spec))]
        try:
            applied = apply_connections(specs, by="cli")
        except NotAllowed as error:
            raise CommandError(f"{error.reason} Nothing was changed.") from None
        for one in applied:
            self.stdout.write(one.sentence)
        for note in notes:
            self.stderr.write(note)

    def _version_note(self, spec: ConnectionSpec) -> str:
        """A note on the server's version; "" for a tested one. Raises CommandError for one below the floor."""
        connection = Connection(slug=spec.slug, kind=spec.kind, url=spec.url, secret_ref=spec.secret)
        try:
            connection.server_version = server_version(connection)
        except Unsupported as error:
            raise CommandError(f"{error.reason} Nothing was changed.") from None
        except AdapterError as error:
            return f"{spec.slug}: its version is not known yet, and is looked at by each sync. {error.reason}"
        return version_warning(connection)

    def _list(self) -> None:
        for row in Connection.objects.order_by("slug"):
            seen = f"synced {row.seen_at:%Y-%m-%d %H:%M:%S} UTC" if row.seen_at else "never synced"
            held = f", {row.held} vanished and held" if row.held else ""
            error = f", {'last try failed: ' if row.unread else ''}{row.error}" if row.error else ""
            kind = f"{row.kind} {row.server_version}".rstrip()
            self.stdout.write(f"{row.slug}: {kind}, {row.environment}, {row.url}, {seen}{held}{error}")
