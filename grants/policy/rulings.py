"""The values that the rules take and return. Free of Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple


class Person(NamedTuple):
    """A person who could ask or approve; `external_id` never changes at the provider.

    Also a service identity, for which its team asks: its only team is the owning one, and no policy names it.
    """

    id: int
    idp: str
    external_id: str
    teams: frozenset[str]
    service: bool = False

    @property
    def key(self) -> str:
        return f"{self.idp}:{self.external_id}"


class Facts(NamedTuple):
    """The facts about a resource that rules use."""

    id: int
    connection: str
    environment: str
    kind: str
    name: str
    tags: frozenset[str]
    connection_owner: str  # team slug, or ""


class Owner(NamedTuple):
    """The owner of a resource: a team, a person ("idp:external id"), or nobody when both are empty."""

    team: str = ""
    person: str = ""


class Reach(NamedTuple):
    """What a policy says about a resource before anybody asks; visibility is decided by it."""

    owner: Owner
    kind: str
    rules: tuple[str, ...]  # names of the rules that reach it at any level, in the order of the file
    hidden: bool  # one of them is `discoverable: false`


class Source(NamedTuple):
    """Where people come from who may approve or ask."""

    kind: Literal["owners", "team", "person"]
    value: str = ""  # team slug, or "idp:external id"

    @property
    def words(self) -> str:
        """For people: "the owners", "team sre"; a person by the key, or by the name that stands in its place."""
        return {"owners": "the owners", "team": f"team {self.value}", "person": self.value}[self.kind]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of approval: `need` different people from these sources must approve."""

    need: int
    sources: tuple[Source, ...]
    resources: tuple[int, ...]
    rules: tuple[str, ...]
    fallback: tuple[Source, ...] = ()

    @property
    def title(self) -> str:
        """The stage in words: "1 of the owners", "2 of team sre"."""
        each = ("the people named" if source.kind == "person" else source.words for source in self.sources)
        return f"{self.need} of {' or '.join(dict.fromkeys(each))}"

    def to_json(self) -> dict[str, Any]:
        """The form in which the request stores it."""
        return {
            "need": self.need,
            "from": [source._asdict() for source in self.sources],
            "resources": list(self.resources),
            "rules": list(self.rules),
            "fallback": [source._asdict() for source in self.fallback],
        }

    @classmethod
    def from_json(cls, stage: Mapping[str, Any]) -> Stage:
        return cls(
            need=stage["need"],
            sources=tuple(Source(**source) for source in stage["from"]),
            resources=tuple(stage["resources"]),
            rules=tuple(stage["rules"]),
            fallback=tuple(Source(**source) for source in stage["fallback"]),
        )


class Counted(NamedTuple):
    """The value of a term that counts, and the rule that gave it."""

    value: Any
    rule: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """The person may ask, on these terms: of each the strictest value of all rules that apply."""

    terms: Mapping[str, Counted]
    stages: tuple[Stage, ...]
    by: Mapping[str, str]  # which rules gave the levels and the stages

    @property
    def longest(self) -> timedelta:
        longest: timedelta = self.terms["longest"].value
        return longest

    @property
    def default(self) -> timedelta:
        default: timedelta = self.terms["default"].value
        return min(default, self.longest)

    @property
    def reason_min(self) -> int:
        """The shortest reason, in characters."""
        least: int = self.terms["reason"].value
        return least

    @property
    def drain(self) -> timedelta | None:
        """How long `work` may report after its end; None when the level has no drain."""
        return self.terms["drain"].value if "drain" in self.terms else None

    @property
    def because(self) -> Mapping[str, str]:
        """The rule or rules that gave each value."""
        return {**{name: counted.rule for name, counted in self.terms.items()}, **self.by}


@dataclass(frozen=True, slots=True)
class Denied:
    """The person may not ask; `reason` says why, in a sentence for them."""

    code: str
    reason: str


type Ruling = Allowed | Denied


class Candidates(NamedTuple):
    """The people who can decide a stage now; `fallback`: too few others qualified, so the fallback was added."""

    people: tuple[int, ...]
    fallback: bool
