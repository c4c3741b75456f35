"""The catalog narrowed: words, facets with counts, and who owns what by the policy in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.http import QueryDict

from accounts.models import Subject
from grants.catalog.models import Resource
from grants.catalog.search import search
from grants.lifecycle import who
from grants.policy import rules, versions
from grants.policy.parse import Policy
from grants.web import words
from grants.web.asking import Asker

TAGS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Owner:
    """Who answers for a resource: a team, a person, or nobody."""

    team: str = ""
    person: str = ""  # name

    def __str__(self) -> str:
        return self.team or self.person

    def __bool__(self) -> bool:
        return bool(self.team or self.person)


@dataclass(frozen=True, slots=True)
class Entry:
    resource: Resource
    owner: Owner


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    word: str
    count: int
    on: bool


@dataclass(frozen=True, slots=True)
class Facet:
    name: str  # of the parameter in the address
    title: str
    choices: tuple[Choice, ...]


def _values_of() -> dict[str, tuple[str, Callable[[Entry], Iterable[str]]]]:
    return {
        "connection": ("Connection", lambda entry: (entry.resource.connection.slug,)),
        "environment": ("Environment", lambda entry: (entry.resource.connection.environment,)),
        "kind": ("Kind", lambda entry: (entry.resource.kind,)),
        "owner": ("Owner", lambda entry: (str(entry.owner) or "nobody",)),
        "tag": ("Tag", lambda entry: entry.resource.tags),
    }


FACETS = _values_of()
MINE = {"ask": "I may ask", "have": "I have access"}


@dataclass(frozen=True, slots=True)
class Found:
    entries: tuple[Entry, ...]
    facets: tuple[Facet, ...]
    total: int  # that this person may see, before narrowing


def browse(subject: Subject, asker: Asker, query: QueryDict) -> Found:
    """What matches the address's `q`, facets and `mine`, best first. Values nobody has match nothing."""
    resources = who.visible_resources(subject)
    if query.get("retired") != "1":
        resources = resources.filter(retired_at=None)
    owners = owners_of(asker.policy, resources)
    by_name: dict[str, list[int]] = {}
    for pk, owner in owners.items():
        if owner:
            by_name.setdefault(str(owner), []).append(pk)
    matching = [
        Entry(resource, owners.get(resource.pk, Owner()))
        for resource in search(resources, query.get("q", ""), owned=by_name)
    ]
    chosen = {name: set(query.getlist(name)) for name in FACETS}
    entries = [entry for entry in matching if _passes(entry, chosen) and _mine(entry, asker, query.getlist("mine"))]
    facets = tuple(_facet(name, matching, chosen[name]) for name in FACETS)
    return Found(tuple(entries), facets, len(owners))


def owners_of(policy: Policy | None, resources: Iterable[Resource]) -> dict[int, Owner]:
    """Who owns each, by its row id; people by name."""
    if policy is None:
        return {resource.pk: Owner() for resource in resources}
    found = {resource.pk: rules.owner_of(policy, versions.facts_of(resource)) for resource in resources}
    names = versions.names_of({owner.person for owner in found.values() if owner.person})
    return {pk: Owner(owner.team, names.get(owner.person, owner.person)) for pk, owner in found.items()}


def _passes(entry: Entry, chosen: dict[str, set[str]]) -> bool:
    """Any value of a facet, in every facet where something is chosen."""
    return all(not wanted or wanted & set(FACETS[name][1](entry)) for name, wanted in chosen.items())


def _mine(entry: Entry, asker: Asker, mine: list[str]) -> bool:
    return ("have" not in mine or entry.resource.pk in asker.grants) and (
        "ask" not in mine or asker.may_ask(entry.resource)
    )


def _facet(name: str, entries: list[Entry], chosen: set[str]) -> Facet:
    title, values = FACETS[name]
    counts = Counter(value for entry in entries for value in set(values(entry)))
    common = [value for value, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    shown = common[:TAGS_SHOWN] if name == "tag" else common
    shown += sorted(chosen - set(shown))
    choices = (Choice(value, facet_word(name, value), counts[value], value in chosen) for value in shown)
    return Facet(name, title, tuple(choices))


def facet_word(name: str, value: str) -> str:
    """A value as people read it."""
    return words.KINDS[value].word if name == "kind" and value in words.KINDS else value
