"""Find resources by words that people remember, matched by their beginning with an index."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.contrib.postgres.search import SearchQuery, SearchQueryField
from django.db.models import Case, Func, IntegerField, Q, QuerySet, Value, When

from grants.catalog.models import Connection, Resource

_MOST_WORDS = 8
_LONGEST = 200  # characters of a query; the rest is cut off
_LONGEST_WORD = 100  # characters; stint_words() cuts off the rest, too
_WORD = re.compile(r"[^\W_]+")  # as stint_words() cuts them in the database


class _Beginnings(SearchQuery):
    """A tsquery written by hand: the parser of to_tsquery() would split some words again."""

    template = "%(expressions)s::tsquery"

    def __init__(self, words: Sequence[str]) -> None:
        self.config = None
        self.invert = False
        written = " & ".join([*(f"'{word}'" for word in words[:-1]), f"'{words[-1]}':*"])
        Func.__init__(self, Value(written), output_field=SearchQueryField())


def search(
    resources: QuerySet[Resource],
    text: str,
    *,
    people: Mapping[str, str] | None = None,
    connections: Iterable[Connection] | None = None,
) -> QuerySet[Resource]:
    """Return the resources that match every word of `text`, ignoring case; names that start with it come first.

    A word matches a resource that has a word beginning with it: in name, kind, tags, owning team or description, or in
    the connection's slug, environment or owner. A word with punctuation, such as etl/orders, counts as several words
    that must match in the same field. `people` maps the policy's key of each owning person to their name. `connections`
    are all that there are, read unless given. An empty `text` returns everything.
    """
    typed = text.replace("\x00", " ")[:_LONGEST].split()[:_MOST_WORDS]
    if not typed:
        return resources.order_by("name", "pk")
    connections = Connection.objects.all() if connections is None else connections
    places = {one.pk: _words([one.slug, one.environment, one.owner_team]) for one in connections}
    owners = {key: _words([name]) for key, name in (people or {}).items()}
    found = resources
    for one in typed:
        found = found.filter(_fits(_words([one]), places, owners))
    first, whole = typed[0], " ".join(typed)
    rank = Case(
        When(name__iexact=whole, then=0),
        When(name__istartswith=first, then=1),
        When(name__icontains=f"/{first}", then=2),  # the deployment's own name, after that of its flow
        When(name__icontains=first, then=3),
        default=4,
        output_field=IntegerField(),
    )
    return found.annotate(rank=rank).order_by("rank", "name", "pk")


def having(text: str) -> Q:
    """Resources that have these words themselves, by the index; the last word may go on. To narrow another condition.

    Of words that are not ASCII any resource may have them: PostgreSQL has other small letters and digits than Python.
    """
    if not text.isascii():
        return Q()
    words = _words([text])
    return Q(words=_Beginnings(words)) if words else Q(pk__in=[])


def _fits(words: Sequence[str], places: Mapping[int, Collection[str]], owners: Mapping[str, Collection[str]]) -> Q:
    if not words:  # only punctuation
        return Q(pk__in=[])
    hit = Q(words=_Beginnings(words))
    if at := [pk for pk, said in places.items() if _all_in(words, said)]:
        hit |= Q(connection__in=at)
    if by := [key for key, said in owners.items() if _all_in(words, said)]:
        hit |= Q(owner_person__in=by)
    return hit


def _words(said: Iterable[str]) -> list[str]:
    return [word[:_LONGEST_WORD] for text in said for word in _WORD.findall(text.lower())]


def _all_in(words: Sequence[str], said: Collection[str]) -> bool:
    return all(word in said for word in words[:-1]) and any(known.startswith(words[-1]) for known in said)
