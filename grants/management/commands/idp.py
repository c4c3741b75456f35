"""`manage.py idp doctor`: check that Stint's account at the identity provider has the rights it needs and no others."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError

from accounts.idp import default
from grants.adapters.errors import AdapterError
from grants.identity import providers
from grants.policy import versions


class Command(BaseCommand):
    help = "Examines Stint's account at the identity provider, and the roles that the policy in force maps."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["doctor"])

    @override
    def handle(self, *args: Any, what: str, **options: Any) -> None:
        try:
            provider = providers.adapter(default())
            findings = provider.doctor()
            if any(finding.ok for finding in findings):  # else the account can read nothing
                findings += map(provider.inspect, versions.mapped_roles())
        except AdapterError as error:
            raise CommandError(error.reason) from None
        for finding in findings:
            self.stdout.write(f"{'ok   ' if finding.ok else 'WRONG'} {finding.what}")
            if finding.fix:
                self.stdout.write(f"      {finding.fix}")
        if wrong := sum(not finding.ok for finding in findings):
            raise CommandError(f"{wrong} to put right.")
