"""`manage.py audit_key`: make the key that signs the head of the record; keep one that exists."""

from __future__ import annotations

from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from grants.audit.export import make_key


class Command(BaseCommand):
    help = "Make the Ed25519 key at STINT_AUDIT_KEY_FILE; keep a key that exists."
    requires_system_checks: tuple[str, ...] = ()

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.ENV.audit_key_file
        try:
            make_key(path)
        except FileExistsError:
            self.stdout.write(f"{path} is there already and was kept.")
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        else:
            self.stdout.write(
                f"Made {path}. Keep a copy of it and of the heads file where the database's owner can't reach."
            )
