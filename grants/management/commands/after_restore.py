"""`manage.py after_restore`: declare that a backup was restored and end what it revived (docs/operations.md)."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from grants import restored
from grants.audit.export import HeadKeyError
from grants.lifecycle.models import Grant
from grants.references import read, ref


def _grant(text: str) -> int:
    named = read(text)
    if named is None or named.kind != "grant":
        raise ArgumentTypeError(f"{text} is no grant: write G-41")
    return named.pk


class Command(BaseCommand):
    help = "Declare that a backup was restored: ends live grants, revokes every credential, marks the record."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keep", nargs="+", default=[], type=_grant, metavar="G-41", help="grants that stay live")
        parser.add_argument("--above", type=int, default=0, help="a number that a gate's /readyz names, if it asks")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--anyway", action="store_true", help="although the record is not behind the exported heads"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        if "owner" not in settings.DATABASES:
            raise CommandError("Set STINT_DATABASE_OWNER_URL: only the owner of the tables declares a restore.")
        connections[DEFAULT_DB_ALIAS] = connections["owner"]
        keep = set(options["keep"])
        try:
            seen = restored.look()
            self._tell(seen, keep)
            if not seen.behind and not options["anyway"]:
                raise CommandError(
                    "The record continues the exported heads: nothing says that a backup was restored. If one was"
                    " (the heads are lost, or nothing was exported after it), say --anyway."
                )
            if unknown := keep - {grant.pk for grant in seen.grants}:
                raise CommandError(f"Not live here: {', '.join(ref('grant', pk) for pk in sorted(unknown))}.")
            if not options["yes"] and input('Type "restored" to go on: ').strip() != "restored":
                raise CommandError("Nothing was done.")
            seq = restored.declare(keep=keep, above=options["above"])
        except (HeadKeyError, OSError) as error:
            raise CommandError(f"The exported heads can't be read or written: {error}") from error
        self.stdout.write(
            f"Declared by event {seq}. Gates that continue from here open within seconds; roles are settled at the"
            " provider by the Celery workers. Now: verify_audit, then what docs/operations.md says."
        )

    def _tell(self, seen: restored.RestoredState, keep: set[int]) -> None:
        say = self.stdout.write
        say(seen.behind or "The record continues the exported heads.")
        say(f"The record ends at event {seen.head}; the newest exported head is of event {seen.exported}.")
        say(f"{len(seen.grants)} live grants:")
        for grant in seen.grants:
            say(f"  {'keep' if grant.pk in keep else 'END '} {_line(grant)}")
        say(f"{seen.requests} pending requests lapse; people who still need them ask again.")
        say(f"{seen.credentials} tokens and browser sessions at the gate are revoked.")
        say(f"{seen.sessions} portal sessions end: everybody signs in again.")
        for role in seen.admins:
            say(f"  {role.role} again, look whether that is right: {role.subject.name} ({role.source})")


def _line(grant: Grant) -> str:
    what = f"{grant.level} on {grant.resource.name} ({grant.resource.connection.slug})"
    return f"{grant.ref}  {grant.beneficiary.name}: {what} until {grant.over_at:%Y-%m-%d %H:%M} UTC"
