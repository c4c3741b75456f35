"""`manage.py recover`: print a code that makes a person an admin. Only its digest is stored."""

from __future__ import annotations

from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.recover import MINUTES, make_code


class Command(BaseCommand):
    help = "Print a code that makes the person who types it into /recover an admin."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        code = make_code()
        self.stdout.write(f"{code}\n\nWithin {MINUTES} minutes: sign in as yourself, open")
        self.stdout.write(f"{settings.ENV.public_url}/recover and type it. It works once, and using it is recorded.")
