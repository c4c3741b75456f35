"""Filter the catalog by words and facets, with counts, in SQL and for MOST resources at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from django.db.models import Q, QuerySet
from django.http import QueryDict

from grants.catalog.models import Connection, Resource
from grants.catalog.search import search
from grants.lifecycle.read_models.options import Asker
from grants.lifecycle.read_models.resource import NamedOwner, owner_of
from grants.policy import reach
from grants.policy.language import Policy
from grants.policy.people import names_of
from grants.web.choices import Choice
from grants.web.words import things

MOST = 2_000  # resources that are counted and paged through; beyond that, a person narrows the search
SHOWN = 12  # owners, and as many tags
PREFECT_HAS = ("server", "pool", "deployment", "block")


@dataclass(frozen=True, slots=True)
class Facet:
    name: str  # of the parameter in the address
    title: str
    choices: tuple[Choice, ...]


FACETS = {"connection": "Connection", "environment": "Environment", "kind": "Kind", "owner": "Owner", "tag": "Tag"}
MINE = {"ask": "I may ask", "have": "I have access"}


@dataclass(frozen=True, slots=True)
class Found:
    resources: QuerySet[Resource]  # best first, MOST of them
    count: int  # of them
    more: bool  # than MOST match
    facets: tuple[Facet, ...]
    total: int  # that this person may see, before narrowing; MOST + 1: more than MOST
    names: Mapping[str, str]  # of people who own something, by what the policy calls them

    def owner(self, resource: Resource) -> NamedOwner:
        return owner_of(resource, self.names)


def browse(visible: QuerySet[Resource], asker: Asker, query: QueryDict, connections: Sequence[Connection]) -> Found:
    """Find what matches `q`, the facets and `mine` of the address, best first; an unknown value matches nothing."""
    names = people_who_own(asker.policy)
    if query.get("retired") != "1":
        visible = visible.filter(retired_at=None)
    matching = search(visible, query.get("q", ""), people=names, connections=connections)
    counted = list(matching.order_by().values_list(*_COUNTED)[: MOST + 1])
    chosen = {name: query.getlist(name) for name in FACETS}
    narrowed = _narrowed(matching, chosen, query.getlist("mine"), asker, names)
    count = len(counted) if narrowed is matching else _count(narrowed)
    total = len(counted) if not query.get("q", "").split() else _count(visible)
    facets = _facets(counted, {one.pk: one for one in connections}, names, chosen)
    return Found(narrowed.defer("words")[:MOST], min(count, MOST), count > MOST, facets, total, names)


_COUNTED = ("connection", "kind", "owner_team", "owner_person", "tags")
type _Counted = tuple[int, str, str, str, list[str]]


def _count(resources: QuerySet[Resource]) -> int:
    """Count them, up to MOST + 1."""
    return len(resources.order_by().values_list("pk")[: MOST + 1])


def people_who_own(policy: Policy | None) -> dict[str, str]:
    """Map "idp:external id" to a name, for each person whom the policy names as an owner."""
    people = {entry.owner.person for entry in policy.owners if entry.owner.person} if policy else set()
    names = names_of(people)
    return {person: names.get(person, person) for person in people}


def _narrowed(
    matching: QuerySet[Resource],
    chosen: Mapping[str, list[str]],
    mine: list[str],
    asker: Asker,
    names: Mapping[str, str],
) -> QuerySet[Resource]:
    """Keep what has one of the chosen values in each facet where any is chosen."""
    narrowed = matching
    for name, values in chosen.items():
        if values:
            known = [value for value in values if "\x00" not in value]  # PostgreSQL refuses a NUL, and no text has one
            narrowed = narrowed.filter(_among(name, known, names))
    if "have" in mine:
        narrowed = narrowed.filter(pk__in=list(asker.grants))
    if "ask" in mine:
        able = reach.askable(asker.policy, asker.person) if asker.policy and asker.person else Q(pk__in=[])
        narrowed = narrowed.filter(able, retired_at=None)
    return narrowed


def _among(name: str, values: list[str], names: Mapping[str, str]) -> Q:
    match name:
        case "connection":
            return Q(connection__slug__in=values)
        case "environment":
            return Q(connection__environment__in=values)
        case "kind":
            return Q(kind__in=values)
        case "tag":
            return Q(tags__overlap=values)
        case _:
            nobody = Q(owner_team="", owner_person="") if "nobody" in values else Q(pk__in=[])
            people = [person for person, called in names.items() if called in values]
            return Q(owner_team__in=[value for value in values if value]) | Q(owner_person__in=people) | nobody


def _facets(
    counted: Sequence[_Counted],
    connections: Mapping[int, Connection],
    names: Mapping[str, str],
    chosen: Mapping[str, list[str]],
) -> tuple[Facet, ...]:
    whole = len(counted) <= MOST
    connection, kind, team, person, tags = zip(*counted, strict=True) if counted else ((), (), (), (), ())
    at = Counter(connection)
    places: Counter[str] = Counter()
    for pk, count in at.items():
        places[connections[pk].environment] += count
    owners = Counter(zip(team, person, strict=True))
    counts = {
        "connection": Counter({connections[pk].slug: count for pk, count in at.items()}),
        "environment": places,
        "kind": Counter(kind),
        "owner": Counter({team or names.get(person, person) or "nobody": n for (team, person), n in owners.items()}),
        "tag": Counter(chain.from_iterable(map(set, tags))),
    }
    if not whole:  # these are few, and known without counting
        counts["connection"].update(dict.fromkeys((one.slug for one in connections.values()), 1))
        counts["environment"].update(dict.fromkeys((one.environment for one in connections.values()), 1))
        counts["kind"].update(dict.fromkeys(PREFECT_HAS, 1))
    return tuple(_facet(name, counts[name], chosen[name], whole=whole) for name in FACETS)


def _facet(name: str, counts: Counter[str], chosen: Sequence[str], *, whole: bool) -> Facet:
    shown = [value for value, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    if name in {"owner", "tag"}:
        shown = shown[:SHOWN]
    if not whole:
        shown.sort()
    shown += sorted(set(chosen) - set(shown))
    choices = (
        Choice(value, facet_word(name, value), counts[value] if whole else None, value in chosen) for value in shown
    )
    return Facet(name, FACETS[name], tuple(choices))


def facet_word(name: str, value: str) -> str:
    """Say a value of a facet in words."""
    return things.KINDS[value].word if name == "kind" and value in things.KINDS else value
