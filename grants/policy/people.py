"""Read people from accounts for the rules: the person who asks, those who could approve, and their names."""

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
    """Return a person for the rules; None for people who are switched off or have no identity, and for machines."""
    mine = profile.of(subject)
    return Person(subject.pk, mine.idp, mine.external_id, frozenset(mine.teams)) if mine and mine.idp else None


def asker_of(subject: Subject) -> Person | None:
    """Return the beneficiary of a request for the rules: a person, or a service identity with its owning team.

    Everybody on the team can use the identity's access, so the team's rights to ask apply to it.
    """
    if subject.kind != Subject.Kind.SERVICE:
        return person_of(subject)
    if not subject.active or subject.team is None:
        return None
    return Person(subject.pk, "", subject.ref, frozenset({subject.team.slug}), service=True)


class PeopleAsked(rules.People):
    """The people who could approve, read when a stage names them: a request's stages name few of all people."""

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
    """The people of these sources, by their first identity, each with those of these teams that they are in."""
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
    """Return the policy with names in place of keys (with `keys`: beside them), for people to read, not for rules."""
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
    """Map each known "idp:external id" to the person's name."""
    if not people:
        return {}
    called = _called(ids=[person.partition(":")[2] for person in people])
    return {f"{idp}:{external_id}": name for idp, external_id, name in called}


@Written
def _called() -> QuerySet[Identity, Any]:
    known = Identity.objects.filter(among("external_id", texts("ids")))
    return known.values_list("idp__slug", "external_id", "subject__name")
