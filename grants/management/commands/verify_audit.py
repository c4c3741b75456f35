"""`manage.py verify_audit`: verify the record; exit with 1 and name the first broken event when it is not intact."""

from __future__ import annotations

from typing import Any, override

from django.core.management.base import BaseCommand, CommandError

from grants.audit.export import HeadKeyError
from grants.audit.verify import verify


class Command(BaseCommand):
    help = "Verify the chain of the record and the heads that were exported."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            verdict = verify()
        except HeadKeyError as error:
            raise CommandError(f"The exported heads can't be checked: {error}") from error
        if not verdict.whole:
            raise CommandError(f"The record is BROKEN at event {verdict.broken_seq}. {verdict.why}", returncode=1)
        self.stdout.write("\n".join([f"The record is whole. {verdict.why}", *verdict.notes]))
