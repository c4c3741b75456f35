"""Find resources by what people remember of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Case, F, Func, IntegerField, Q, QuerySet, TextField, Value, When

from grants.catalog.models import Resource

_MOST_WORDS = 8
_LONGEST = 200  # characters of a query; the rest is cut off

# A word has no white space, so it cannot match across two tags.
_TAGS = Func(F("tags"), Value("\n"), function="array_to_string", output_field=TextField())


def search(
    resources: QuerySet[Resource], text: str, *, owned: Mapping[str, Collection[int]] | None = None
) -> QuerySet[Resource]:
    """Those in which every word of `text` occurs, in any case; best first: names that start with it.

    Words are looked for in name, description, tags, kind, and the connection's slug, environment and owner.
    `owned` adds who owns what by the policy, which this room does not know: owner's name to resource ids.
    `%` and `_` are themselves. An empty `text` is everything, by name.
    """
    words = text.replace("\x00", " ")[:_LONGEST].split()[:_MOST_WORDS]
    if not words:
        return resources.order_by("name", "pk")
    found = resources.annotate(tag_text=_TAGS)
    for word in words:
        found = found.filter(_anywhere(word, owned or {}))
    first, whole = words[0], " ".join(words)
    rank = Case(
        When(name__iexact=whole, then=0),
        When(name__istartswith=first, then=1),
        When(name__icontains=f"/{first}", then=2),  # the deployment's own name, after its flow's
        When(name__icontains=first, then=3),
        default=4,
        output_field=IntegerField(),
    )
    return found.annotate(rank=rank).order_by("rank", "name", "pk")


def _anywhere(word: str, owned: Mapping[str, Collection[int]]) -> Q:
    fields = (
        "name",
        "description",
        "tag_text",
        "kind",
        "connection__slug",
        "connection__environment",
        "connection__owner_team",
    )
    hit = Q()
    for field in fields:
        hit |= Q(**{f"{field}__icontains": word})
    theirs = {pk for owner, ids in owned.items() if word.casefold() in owner.casefold() for pk in ids}
    return hit | Q(pk__in=theirs) if theirs else hit
