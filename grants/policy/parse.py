"""policy.yaml and connections.yaml into values; every problem is said at once, with line and column."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from grants.catalog.levels import WORDS
from grants.catalog.specs import ConnectionSpec
from grants.policy.rulings import Owner, Source
from grants.policy.yaml_marks import Marks, Place, PolicyErrors, Problem, against, load

__all__ = ["Policy", "PolicyErrors", "Problem", "parse_connections", "parse_policy"]

_LENGTH = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

DRAIN = timedelta(minutes=15)  # unless a rule says otherwise: enough for most runs to end and say so
_DRAIN_LONGEST = timedelta(days=1)


class Match(NamedTuple):
    """Which resources (and levels); an empty key matches anything."""

    connection: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    name: tuple[str, ...] = ()  # globs
    tag: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()  # team slugs
    level: tuple[str, ...] = ()


class OwnerRule(NamedTuple):
    match: Match
    owner: Owner


class RoleRule(NamedTuple):
    """Which existing role of the IdP stands for what; without one, Stint makes its own."""

    match: Match
    role: str  # "realm/NAME" or "client/CLIENT/NAME"


class StageRule(NamedTuple):
    need: int
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    match: Match
    ask: tuple[Source, ...] | None  # None: anyone
    levels: tuple[str, ...]
    default: timedelta
    longest: timedelta
    stages: tuple[StageRule, ...]
    reason_min: int
    fallback: tuple[Source, ...]
    discoverable: bool
    drain: timedelta = DRAIN


@dataclass(frozen=True, slots=True, eq=False)  # one is a key, by identity: what is worked out of it is kept with it
class Policy:
    """A whole policy. `version` is the row that it is in force as, 0 while it is only a text."""

    owner_tags: bool
    owners: tuple[OwnerRule, ...]
    fallback: tuple[Source, ...]
    rules: tuple[Rule, ...]
    roles: tuple[RoleRule, ...] = ()
    people: tuple[tuple[str, Place], ...] = ()  # "idp:username" of everybody named, and where
    version: int = 0


def parse_policy(text: str) -> Policy:
    """Read a policy. People are "idp:username" until with_people(). Raises PolicyErrors."""
    value, marks = load(text)
    problems = against("policy", value, marks)
    if problems:
        raise PolicyErrors(problems)
    reader = _Reader(marks)
    policy = Policy(
        owner_tags=value.get("owner_tags", False),
        owners=tuple(reader.owner(entry, ("owners", n)) for n, entry in enumerate(value.get("owners", []))),
        fallback=reader.sources(value.get("fallback", []), ("fallback",)),
        rules=tuple(reader.rule(rule, ("rules", n)) for n, rule in enumerate(value["rules"])),
        roles=tuple(reader.role(entry, ("roles", n)) for n, entry in enumerate(value.get("roles", []))),
    )
    if reader.problems:
        raise PolicyErrors(reader.problems)
    return replace(policy, people=tuple(reader.people))


def with_people(policy: Policy, people: dict[str, str]) -> Policy:
    """The policy with every "idp:username" replaced by what `people` says ("idp:external id").

    A name that is not in `people` becomes nobody: it can't match anyone.
    """

    def key(named: str) -> str:
        external = people.get(named)
        return f"{named.partition(':')[0]}:{external}" if external else ""

    return each_person(policy, key)


def each_person(policy: Policy, say: Callable[[str], str]) -> Policy:
    """The policy with `say` of every person that it names."""

    def source(given: Source) -> Source:
        return Source("person", say(given.value)) if given.kind == "person" else given

    def each(sources: Sequence[Source]) -> tuple[Source, ...]:
        return tuple(map(source, sources))

    return replace(
        policy,
        owners=tuple(
            entry._replace(owner=Owner(person=say(entry.owner.person))) if entry.owner.person else entry
            for entry in policy.owners
        ),
        fallback=each(policy.fallback),
        rules=tuple(
            replace(
                rule,
                ask=None if rule.ask is None else each(rule.ask),
                fallback=each(rule.fallback),
                stages=tuple(StageRule(stage.need, each(stage.sources)) for stage in rule.stages),
            )
            for rule in policy.rules
        ),
    )


class _Reader:
    """Turns checked values into ours, and collects what a schema cannot say."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.problems: list[Problem] = []
        self.people: list[tuple[str, Place]] = []
        self.names: set[str] = set()

    def wrong(self, place: Place, message: str) -> None:
        self.problems.append(self.marks.problem(place, message))

    def owner(self, entry: dict[str, Any], place: Place) -> OwnerRule:
        match = self.match(entry.get("match", {}), (*place, "match"))
        for key in ("owner", "level"):
            if getattr(match, key):
                self.wrong((*place, "match", key), f"An owner can't be found by `{key}`.")
        if "team" in entry:
            return OwnerRule(match, Owner(team=entry["team"]))
        return OwnerRule(match, Owner(person=self.person(entry["person"], (*place, "person"))))

    def role(self, entry: dict[str, Any], place: Place) -> RoleRule:
        match = self.match(entry.get("match", {}), (*place, "match"))
        if match.owner:
            self.wrong((*place, "match", "owner"), "A role can't be found by `owner`.")
        return RoleRule(match, entry["role"])

    def rule(self, rule: dict[str, Any], place: Place) -> Rule:
        name = rule["name"]
        if name in self.names:
            self.wrong((*place, "name"), f"Another rule is called {name}, too.")
        self.names.add(name)
        ask = rule["ask"]
        default = self.length(rule["duration"]["default"], (*place, "duration", "default"))
        longest = self.length(rule["duration"]["longest"], (*place, "duration", "longest"))
        if timedelta(0) < longest < default:
            self.wrong((*place, "duration", "default"), f"Rule {name}: the default is longer than the longest.")
        return Rule(
            name=name,
            match=self.match(rule.get("match", {}), (*place, "match")),
            ask=None if ask == "anyone" else self.sources(ask, (*place, "ask")),
            levels=self.levels(rule["levels"], (*place, "levels")),
            default=default,
            longest=longest,
            stages=tuple(
                StageRule(stage["need"], self.sources(stage["from"], (*place, "stages", n, "from")))
                for n, stage in enumerate(rule["stages"])
            ),
            reason_min=rule.get("reason", {}).get("min", 1),
            fallback=self.sources(rule.get("fallback", []), (*place, "fallback")),
            discoverable=rule.get("discoverable", True),
            drain=self.drain(rule["drain"], (*place, "drain")) if "drain" in rule else DRAIN,
        )

    def match(self, match: dict[str, Any], place: Place) -> Match:
        listed = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in match.items()}
        if "level" in listed:
            self.levels(listed["level"], (*place, "level"))
        return Match(**listed)

    def levels(self, levels: Sequence[str], place: Place) -> tuple[str, ...]:
        for n, word in enumerate(levels):
            if word not in WORDS:
                near = get_close_matches(word, WORDS, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"levels are {', '.join(WORDS)}."
                self.wrong((*place, n), f"unknown level `{word}`; {hint}")
        return tuple(levels)

    def length(self, text: str, place: Place) -> timedelta:
        matched = _LENGTH.fullmatch(text)
        length = timedelta(**{_UNITS[matched[2]]: int(matched[1])}) if matched else timedelta(0)
        if not timedelta(minutes=1) <= length <= timedelta(days=365):
            self.wrong(place, f"{text!r}: write a length like 30m, 8h or 2d, from 1m to 365d.")
        return length

    def drain(self, text: str, place: Place) -> timedelta:
        if _LENGTH.fullmatch(text) and int(text[:-1]) == 0:
            return timedelta(0)  # cut at the end, whatever runs
        drain = self.length(text, place)
        if drain > _DRAIN_LONGEST:
            self.wrong(place, f"{text!r}: a drain of at most 1d, or it is access by another name.")
        return drain

    def sources(self, sources: Sequence[Any], place: Place) -> tuple[Source, ...]:
        return tuple(self.source(source, (*place, n)) for n, source in enumerate(sources))

    def source(self, source: Any, place: Place) -> Source:
        if source == "owners":
            return Source("owners")
        if "team" in source:
            return Source("team", source["team"])
        return Source("person", self.person(source["person"], (*place, "person")))

    def person(self, person: dict[str, str], place: Place) -> str:
        key = f"{person['idp']}:{person['username']}"
        self.people.append((key, place))
        return key


def parse_connections(text: str) -> list[ConnectionSpec]:
    """Read connections.yaml. Raises PolicyErrors."""
    value, marks = load(text)
    problems = against("connections", value, marks)
    if problems:
        raise PolicyErrors(problems)
    specs, seen, hosts = [], set(), set()
    for n, entry in enumerate(value["connections"]):
        place: Place = ("connections", n)
        if entry["slug"] in seen:
            problems.append(marks.problem((*place, "slug"), f"Another connection is called {entry['slug']}, too."))
        seen.add(entry["slug"])
        if entry.get("host") in hosts:
            problems.append(marks.problem((*place, "host"), f"Another connection is reached by {entry['host']}, too."))
        hosts |= {entry["host"]} if "host" in entry else set()
        if why := _bad_url(entry["url"]):
            problems.append(marks.problem((*place, "url"), why))
        specs.append(ConnectionSpec(**{**entry, "url": entry["url"].rstrip("/")}))
    if problems:
        raise PolicyErrors(problems)
    return specs


def _bad_url(url: str) -> str:
    """Why Stint must not call this address; "" when it may."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"{url!r} is no address: {error}."
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        return f"{url!r}: write http(s)://host[:port]/path, the base of the API."
    if "@" in parts.netloc:
        return "A password in an address ends up in logs: put it into `secret`, as env:NAME or file:/path."
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "" if host.lower() != "metadata.google.internal" else "That is a cloud's metadata service."
    mapped = getattr(address, "ipv4_mapped", None) or address
    return "That is a link-local address: cloud metadata, not an orchestrator." if mapped.is_link_local else ""
