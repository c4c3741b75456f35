"""People as the rules see them, read from accounts: who asks, who could approve, and what they are called."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, override

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet

from accounts import profile
from accounts.models import Identity, Membership, Subject
from accounts.written import Written, among, texts
from grants.policy import rules
from grants.policy.language import Policy, each_person
from grants.policy.rulings import Person, Source


def person_of(subject: Subject) -> Person | None:
    """A person as the rules see them; None for who is switched off, a machine, or unknown to every IdP."""
    mine = profile.of(subject)
    return Person(subject.pk, mine.idp, mine.external_id, frozenset(mine.teams)) if mine and mine.idp else None


def asker_of(subject: Subject) -> Person | None:
    """Who benefits from an ask, as the rules see them: a person, or an identity with its owning team.

    What a team's identity holds, everybody on the team can use: so it may be asked for what the team may ask for.
    """
    if subject.kind != Subject.Kind.SERVICE:
        return person_of(subject)
    if not subject.active or subject.team is None:
        return None
    return Person(subject.pk, "", subject.ref, frozenset({subject.team.slug}), service=True)


class PeopleAsked(rules.People):
    """Who could be asked to approve, read source by source: of everybody there is, a request's stages name a few."""

    def __init__(self) -> None:
        self._read: set[Source] = set()
        super().__init__(())

    def read(self, sources: Collection[Source]) -> None:
        new = {source for source in sources if source.kind in ("team", "person")} - self._read
        if new:
            self._read |= new
            self.add(_people_of(new))

    @override
    def of(self, source: Source) -> set[int]:
        self.read([source])
        return super().of(source)


def _people_of(sources: Collection[Source]) -> Iterator[Person]:
    """Those whom teams or names stand for, by their first identity, with those of these teams that they are in."""
    slugs = [source.value for source in sources if source.kind == "team"]
    in_them = Membership.objects.filter(team__slug__in=slugs)
    called = Q(subject__in=in_them.values("subject"))
    for source in sources:
        if source.kind == "person":
            idp, _, external_id = source.value.partition(":")
            named = Identity.objects.filter(idp__slug=idp, external_id=external_id)
            called |= Q(subject__in=named.values("subject"))
    identities = (
        Identity.objects.filter(called, subject__active=True, subject__kind=Subject.Kind.PERSON)
        .annotate(teams=ArraySubquery(in_them.filter(subject=OuterRef("subject")).values("team__slug")))
        .order_by("pk")
    )
    seen: set[int] = set()
    for pk, idp, external_id, teams in identities.values_list("subject_id", "idp__slug", "external_id", "teams"):
        if pk not in seen:
            seen.add(pk)
            yield Person(pk, idp, external_id, frozenset(teams or ()))


def named(policy: Policy, *, keys: bool = False) -> Policy:
    """The policy with people by name (and by key, where one must be told from a namesake): to read, not to judge by."""
    met: set[str] = set()

    def meet(key: str) -> str:
        met.add(key)
        return key

    each_person(policy, meet)
    names = names_of(met)

    def say(key: str) -> str:
        name = names.get(key)
        return f"{name} ({key})" if name and keys else name or key

    return each_person(policy, say)


def names_of(people: Collection[str]) -> dict[str, str]:
    """ "idp:external id" -> name, of those who are known."""
    if not people:
        return {}
    called = _called(ids=[person.partition(":")[2] for person in people])
    return {f"{idp}:{external_id}": name for idp, external_id, name in called}


@Written
def _called() -> QuerySet[Identity, Any]:
    known = Identity.objects.filter(among("external_id", texts("ids")))
    return known.values_list("idp__slug", "external_id", "subject__name")
