"""`manage.py service add|ask|deliver|list`: manage the service identities of workers and CI jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, override
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import service_identities
from accounts.errors import UserError
from accounts.models import Subject, Team
from grants import clock
from grants.catalog.levels import WORDS
from grants.catalog.models import Resource
from grants.lifecycle.ask import Wanted, ask
from grants.lifecycle.models import Grant, Request
from grants.tokens.delivery.base import begin


class Command(BaseCommand):
    help = "Adds service identities, lists them, asks for access in their own name."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="a new identity, owned by a team")
        add.add_argument("name")
        add.add_argument("--team", required=True, help="the team that answers for it")
        wish = actions.add_parser("ask", help="ask for it; the policy says who decides, or that nobody needs to")
        wish.add_argument("name")
        wish.add_argument("what", metavar="CONNECTION:KIND:NAME", help="for example prefect-prod:pool:etl")
        wish.add_argument("level", choices=WORDS)
        wish.add_argument("--hours", type=int, required=True)
        wish.add_argument("--why", required=True)
        deliver = actions.add_parser("deliver", help="write its tokens into files below STINT_TOKEN_DIR from now on")
        deliver.add_argument("name")
        for one in (wish, deliver):
            one.add_argument("--team", default="", help="whose; any team may have one of that name")
        actions.add_parser("list", help="who there is, and what they hold")

    @override
    def handle(self, *args: Any, action: str, **options: Any) -> None:
        match action:
            case "add":
                self._add(options["name"], options["team"])
            case "ask":
                self._ask(options)
            case "deliver":
                self._deliver(options["name"], options["team"])
            case _:
                self._list()

    def _add(self, name: str, slug: str) -> None:
        if Subject.objects.filter(kind=Subject.Kind.SERVICE, name=name, team__slug=slug).exists():
            self.stdout.write(f"{name} of {slug}: as it was")
            return
        team = Team.objects.filter(slug=slug).first()
        if team is None:
            raise CommandError(f"There is no team {slug}. Teams come with the people of the identity provider.")
        try:
            service = service_identities.add(team, name, by="cli")
        except UserError as error:
            raise CommandError(error.reason) from None
        self.stdout.write(f"{service.name} of {slug}: added, {service.ref}")

    def _ask(self, options: dict[str, Any]) -> None:
        service = self._service(options["name"], options["team"])
        resource, level = self._resource(options["what"]), options["level"]
        held = Grant.objects.live_at(clock.now()).filter(beneficiary=service, resource=resource, level=level).first()
        if held:
            self.stdout.write(f"{service.name} holds it already: {held.ref}, until {held.over_at:%Y-%m-%d %H:%M} UTC")
            return
        try:
            asked = ask(
                [Wanted(resource, level)],
                by=service,
                duration=timedelta(hours=options["hours"]),
                reason=options["why"],
                idempotency_key=uuid4().hex,
            )
        except UserError as error:
            raise CommandError(error.reason) from None
        granted = asked.state == Request.State.APPROVED
        self.stdout.write(f"{asked.ref} is granted." if granted else f"{asked.ref} waits for a decision.")

    def _deliver(self, name: str, team: str) -> None:
        service = self._service(name, team)
        begin(service, by="cli")
        self.stdout.write(f"{service.name}: its tokens are written below {service.ref}/, a file for each access")

    def _list(self) -> None:
        now = clock.now()
        services = (
            Subject.objects.filter(kind=Subject.Kind.SERVICE).select_related("team").order_by("team__slug", "name")
        )
        for service in services:
            held = Grant.objects.live_at(now).filter(beneficiary=service).select_related("resource__connection")
            what = ", ".join(
                f"{one.level} on {one.resource.name} until {one.over_at:%Y-%m-%d %H:%M} UTC" for one in held
            )
            off = "" if service.active else " (switched off)"
            self.stdout.write(f"{service.name} of {service.team}{off}: {what or 'holds nothing'}")

    def _service(self, name: str, team: str) -> Subject:
        named = Subject.objects.filter(kind=Subject.Kind.SERVICE, name=name, **({"team__slug": team} if team else {}))
        found = list(named.select_related("team"))
        if len(found) != 1:
            hint = " Say whose with --team." if found else ""
            raise CommandError(f"{len(found) or 'No'} service identities are called {name}.{hint}")
        return found[0]

    def _resource(self, what: str) -> Resource:
        slug, _, rest = what.partition(":")
        kind, _, name = rest.partition(":")
        live = Resource.objects.filter(connection__slug=slug, kind=kind, name=name, retired_at=None)
        found = list(live.select_related("connection"))
        if len(found) != 1:
            raise CommandError(f"{len(found) or 'No'} resources are called {what}. Write CONNECTION:KIND:NAME.")
        return found[0]
