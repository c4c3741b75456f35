"""What the rules are asked about, and what they answer. Values without behaviour; no Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple


class Person(NamedTuple):
    """Somebody who could ask or approve. `external_id` is what the IdP never changes.

    A service identity can be asked for, too: it is of its owning team alone, and no policy names it as a person.
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
    """A resource, as far as rules look at it."""

    id: int
    connection: str
    environment: str
    kind: str
    name: str
    tags: frozenset[str]
    connection_owner: str  # team slug, or ""


class Owner(NamedTuple):
    """Who answers for a resource: a team, a person ("idp:external id"), or nobody when both are empty."""

    team: str = ""
    person: str = ""


class Reach(NamedTuple):
    """What a policy says of a resource before anybody asks: all that visibility needs to know of it."""

    owner: Owner
    kind: str
    rules: tuple[str, ...]  # names of those that reach it, whatever the level, in the order of the file
    hidden: bool  # one of them is `discoverable: false`


class Source(NamedTuple):
    """Where approvers come from."""

    kind: Literal["owners", "team", "person"]
    value: str = ""  # team slug, or "idp:external id"


@dataclass(frozen=True, slots=True)
class Stage:
    """So many distinct people from these sources must say yes, about these resources."""

    need: int
    sources: tuple[Source, ...]
    resources: tuple[int, ...]
    rules: tuple[str, ...]
    fallback: tuple[Source, ...] = ()

    @property
    def title(self) -> str:
        """In words: "1 of the owners", "2 of team sre"."""
        words = {"owners": "the owners", "team": "team {}", "person": "the people named"}
        named = dict.fromkeys(words[source.kind].format(source.value) for source in self.sources)
        return f"{self.need} of {' or '.join(named)}"

    def to_json(self) -> dict[str, Any]:
        """As it is frozen on the request."""
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
    """A value that counts, and the rule that gave it."""

    value: Any
    rule: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be asked for, under these terms: each the strictest of those that the rules give under its name."""

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
        """In characters."""
        least: int = self.terms["reason"].value
        return least

    @property
    def drain(self) -> timedelta | None:
        """How long `work` may finish reporting after its end; None: nothing does."""
        return self.terms["drain"].value if "drain" in self.terms else None

    @property
    def because(self) -> Mapping[str, str]:
        """The rule, or the rules, that gave each."""
        return {**{name: counted.rule for name, counted in self.terms.items()}, **self.by}


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not, and why, in a sentence for the person who asked."""

    code: str
    reason: str


type Ruling = Allowed | Denied


class Candidates(NamedTuple):
    """Who can decide a stage now; `fallback` when too few others qualified and the fallback was added."""

    people: tuple[int, ...]
    fallback: bool
