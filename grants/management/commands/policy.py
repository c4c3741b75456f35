"""`manage.py policy check|plan|apply FILE`, `show [VERSION]`, `schema`. FILE can be - for standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.idp import default
from grants.adapters.errors import AdapterError
from grants.identity import providers
from grants.policy import language, versions
from grants.policy.differences import differences
from grants.policy.language import Policy, parse_policy
from grants.policy.models import PolicyVersion
from grants.policy.yaml_marks import PolicyErrors


class Command(BaseCommand):
    requires_system_checks: tuple[str, ...] = ()  # `check` works without a database
    help = "Check a policy file, say what it would change, put it in force, show what is."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, text in (
            ("check", "read the file, without the database"),
            ("plan", "say what applying it would change"),
            ("apply", "put it in force"),
        ):
            verbs.add_parser(verb, help=text).add_argument("file", help="path, or - for standard input")
        verbs.add_parser("schema", help="print what an editor checks the file against")
        verbs.add_parser("show", help="print a version").add_argument("number", nargs="?", type=int)

    @override
    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "show":
            self.show(options["number"])
            return
        if verb == "schema":
            self.stdout.write(json.dumps(language.schema(), indent=2, ensure_ascii=False))
            return
        name = options["file"]
        try:
            text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{name}: {error}") from error
        try:
            getattr(self, f"do_{verb}")(text)
        except PolicyErrors as errors:
            told = "\n".join(f"{name}:{problem}" for problem in errors.problems)
            raise CommandError(f"{told}\nNothing was changed.") from errors

    def do_check(self, text: str) -> None:
        policy = parse_policy(text)
        self.stdout.write(f"{len(policy.rules)} rules, {len(policy.owners)} owners: well formed.")

    def do_plan(self, text: str) -> None:
        lines = versions.plan(text).lines
        self.stdout.write("\n".join(lines) or "No difference to the policy in force.")
        self.careful(parse_policy(text))

    def do_apply(self, text: str) -> None:
        before, had = versions.in_force_row(), versions.in_force()
        row = versions.apply(text, by=None)
        if before and row.pk == before.pk:
            self.stdout.write(f"{row.ref} is in force already; nothing changed.")
            return
        now = versions.in_force()
        self.stdout.write("\n".join(differences(had, now) if now else []))
        self.stdout.write(f"{row.ref} is in force.")
        if now:
            self.careful(now)

    def careful(self, policy: Policy) -> None:
        """Warn of mapped roles that Stint will not give; the policy is in force all the same."""
        mapped = versions.mapped_roles(policy)
        if not mapped:
            return
        try:
            provider = providers.adapter(default())
            for finding in map(provider.inspect, mapped):
                if not finding.ok:
                    self.stdout.write(f"Careful: {finding.what} {finding.fix}")
        except AdapterError as error:
            self.stdout.write(f"Careful: the roles that it maps could not be looked at. {error.reason}")

    def show(self, number: int | None) -> None:
        row = PolicyVersion.objects.filter(pk=number).first() if number else versions.in_force_row()
        if row is None:
            raise CommandError("There is no such version." if number else "No policy is in force.")
        self.stdout.write(row.text)
