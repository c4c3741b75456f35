"""The language of policy.yaml. Each key is a field with a type, which reads the value and reports mistakes, and a Term,
which puts it into words and selects the strictest of several values. Free of Django."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, Self, override

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from grants.policy import wording
from grants.policy.rulings import Owner, Source
from grants.policy.strict import Hint, Mistake, Strict, json_schema, read, refused, wrong
from grants.policy.values import (
    Approver,
    Askers,
    Drain,
    Length,
    LevelWord,
    NamedPerson,
    People,
    ResourceMatch,
    TeamOrPerson,
)  # fmt: skip
from grants.policy.yaml_marks import Place

DRAIN = timedelta(minutes=15)  # unless a rule says otherwise; most runs end and report their end in this time


class Term(NamedTuple):
    """The meaning of a key: its name, how to say its value, and which of several values counts."""

    name: str
    say: Callable[[Any], str]
    strictest: Callable[..., Any] | None = None  # None: all of them count


def _not_by(match: ResourceMatch, what: str, *keys: str) -> Iterator[Mistake]:
    for key in keys:
        if getattr(match, key):
            yield Mistake(("match", key), f"{what} can't be found by `{key}`.")


class _OwnerEntry(TeamOrPerson):
    """The owner of the resources that match: a team or a person."""

    match: ResourceMatch

    @model_validator(mode="after")
    def _by_what_it_can(self) -> Self:
        if mistakes := [*_not_by(self.match, "An owner", "owner", "level")]:
            raise wrong(*mistakes)
        return self


class OwnerLine(NamedTuple):
    match: ResourceMatch
    owner: Owner


def _owner_line(value: Any) -> OwnerLine:
    entry = _OwnerEntry.model_validate(value)
    return OwnerLine(entry.match, Owner(team=entry.team) if entry.team else Owner(person=entry.person.key))


type _OwnerLine = Annotated[
    OwnerLine,
    PlainValidator(_owner_line, json_schema_input_type=_OwnerEntry),
    Hint("an owner is a `match` and either a `team` or a `person`"),
]


class RoleLine(Strict):
    """The existing role of the provider for what matches; without such a line Stint makes its own role."""

    match: ResourceMatch
    role: Annotated[
        str,
        Field(max_length=500, pattern="^(realm/.+|client/[^/]+/.+)$"),
        Hint("write realm/NAME, or client/CLIENT/NAME"),
    ]

    @model_validator(mode="after")
    def _by_what_it_can(self) -> Self:
        if mistakes := [*_not_by(self.match, "A role", "owner")]:
            raise wrong(*mistakes)
        return self


class Duration(Strict):
    """How long access lasts by default, and at most."""

    default: Annotated[Length, Term("default", wording.length, min)]
    longest: Annotated[Length, Term("longest", wording.length, min)]


class StageRule(Strict):
    """A stage of approval: `need` different people from these sources must approve."""

    need: int = Field(ge=1, le=10)
    sources: tuple[Approver, ...] = Field(alias="from", min_length=1, max_length=20)

    def words(self) -> str:
        return f"{self.need} of {wording.sources(self.sources)}"


class Reason(Strict):
    """The least length of a reason, in characters."""

    min: Annotated[int, Field(ge=1, le=1000), Term("reason", "{} characters".format, max)]


def _stages(stages: Sequence[StageRule]) -> str:
    return ", then ".join(stage.words() for stage in stages) or "none, granted at once"


def _askers(sources: Sequence[Source] | None) -> str:
    return "anyone" if sources is None else wording.sources(sources)


class Rule(Strict):
    """A rule: who may ask for which levels of what, for how long, and who decides."""

    name: Annotated[
        str, Field(pattern="^[a-z0-9][a-z0-9-]{0,60}$"), Hint("a rule's name has small letters, digits and hyphens")
    ]
    match: Annotated[ResourceMatch, Term("match", ResourceMatch.words)]
    ask: Annotated[Askers, Term("who may ask", _askers)]
    levels: Annotated[tuple[LevelWord, ...], Field(min_length=1), Term("levels", ", ".join)]
    duration: Duration
    stages: Annotated[tuple[StageRule, ...], Field(max_length=5), Term("stages", _stages)]
    reason: Reason = Reason(min=1)
    fallback: Annotated[People, Term("fallback", wording.sources)] = ()
    drain: Annotated[Drain, Term("drain", wording.length, min)] = DRAIN
    discoverable: Annotated[bool, Term("discoverable", {True: "yes", False: "no"}.__getitem__)] = True

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.duration.default > self.duration.longest:
            text = f"Rule {self.name}: the default is longer than the longest."
            raise wrong(Mistake(("duration", "default"), text))
        return self


def _terms(model: type[Strict], path: str = "") -> Iterator[tuple[Term, Callable[[Rule], Any]]]:
    for name, field in model.model_fields.items():
        yield from ((one, attrgetter(path + name)) for one in field.metadata if isinstance(one, Term))
        if isinstance(field.annotation, type) and issubclass(field.annotation, Strict):
            yield from _terms(field.annotation, f"{path}{name}.")


TERMS = tuple(_terms(Rule))  # each with the function that reads it from a rule, in the order of the file


def _once(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    first: dict[str, int] = {}
    again = [(n, rule.name) for n, rule in enumerate(rules) if first.setdefault(rule.name, n) != n]
    if again:
        raise wrong(*(Mistake((n, "name"), f"Another rule is called {name}, too.") for n, name in again))
    return rules


def _known_version(version: int) -> int:
    if version != 1:
        raise refused(f"{version} is not one of 1.")
    return version


class _Document(Strict):
    """Who may ask for what, for how long, and who must approve."""

    version: Annotated[int, AfterValidator(_known_version), Field(json_schema_extra={"enum": [1]})]
    owner_tags: bool = False
    owners: Annotated[tuple[_OwnerLine, ...], Field(max_length=500)] = ()
    fallback: People = ()
    rules: Annotated[tuple[Rule, ...], Field(max_length=500), AfterValidator(_once)]
    roles: Annotated[tuple[RoleLine, ...], Field(max_length=500)] = ()


class Policy(_Document):
    """A whole policy. `number` is the number of its version, 0 while it is only a text.

    Compared by identity, because grants.policy.rules caches what it computes for each policy object.
    """

    people: tuple[tuple[str, Place], ...]  # "idp:username" of everybody named, and where
    number: int = 0

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    @override
    def __hash__(self) -> int:
        return id(self)

    def numbered(self, number: int) -> Policy:
        return self.model_copy(update={"number": number})


def parse_policy(text: str) -> Policy:
    """Read a policy. People stay "idp:username" until with_people() replaces them. Raises PolicyErrors."""
    document, value, _ = read(_Document, text)
    return Policy.model_construct(**dict(document), people=tuple(_people(value, ())))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return json_schema(_Document, "Stint policy")


def _people(value: Any, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "person":
                yield NamedPerson.model_validate(one).key, (*place, key)
            else:
                yield from _people(one, (*place, key))
    elif isinstance(value, tuple):
        for n, one in enumerate(value):
            yield from _people(one, (*place, n))


def with_people(policy: Policy, people: dict[str, str]) -> Policy:
    """Return the policy with every "idp:username" replaced by "idp:external id", by the ids in `people`.

    A name that is not in `people` is replaced by "", which matches nobody.
    """

    def key(named: str) -> str:
        external = people.get(named)
        return f"{named.partition(':')[0]}:{external}" if external else ""

    return each_person(policy, key)


def each_person(policy: Policy, say: Callable[[str], str]) -> Policy:
    """Return the policy with every person key replaced by `say` of it."""

    def each(sources: Sequence[Source]) -> tuple[Source, ...]:
        return tuple(Source("person", say(one.value)) if one.kind == "person" else one for one in sources)

    owners = (
        line._replace(owner=Owner(person=say(line.owner.person))) if line.owner.person else line
        for line in policy.owners
    )
    rules = (
        rule.model_copy(
            update={
                "ask": None if rule.ask is None else each(rule.ask),
                "fallback": each(rule.fallback),
                "stages": tuple(stage.model_copy(update={"sources": each(stage.sources)}) for stage in rule.stages),
            }
        )
        for rule in policy.rules
    )
    return policy.model_copy(update={"owners": tuple(owners), "fallback": each(policy.fallback), "rules": tuple(rules)})
