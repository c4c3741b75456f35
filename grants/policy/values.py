"""The types of single values in policy.yaml: lengths of time, words, matches, people. Free of Django."""

from __future__ import annotations

import re
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    TypeAdapter,
    model_validator,
)  # fmt: skip
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from grants.catalog.levels import KINDS, WORDS
from grants.policy import wording
from grants.policy.rulings import Source
from grants.policy.strict import Hint, Strict, refused

# Lengths of time: read from "8h"


def _length(text: Any) -> timedelta:
    if not isinstance(text, str):
        raise PydanticCustomError("string_type", "not a string")
    matched = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    length = timedelta(minutes=int(matched[1]) * {"m": 1, "h": 60, "d": 1440}[matched[2]]) if matched else None
    if length is None or length > timedelta(days=365):
        raise refused(f"{text!r}: write a length like 30m, 8h or 2d, from 1m to 365d.")
    return length


def _not_none(length: timedelta) -> timedelta:
    if not length:
        raise refused("No time at all: write a length like 30m, 8h or 2d, from 1m to 365d.")
    return length


def _a_drain(length: timedelta) -> timedelta:
    if length > timedelta(days=1):
        raise refused(f"{wording.length(length)}: a drain of at most 1d, or it is access by another name.")
    return length


_AS_WRITTEN = BeforeValidator(_length, json_schema_input_type=Annotated[str, Field(pattern="^[0-9]{1,4}[mhd]$")])
type Length = Annotated[timedelta, _AS_WRITTEN, AfterValidator(_not_none)]
type Drain = Annotated[timedelta, _AS_WRITTEN, AfterValidator(_a_drain)]


# Words, one or several


def _level(word: str) -> str:
    if word not in WORDS:
        near = get_close_matches(word, WORDS, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"levels are {', '.join(WORDS)}."
        raise refused(f"unknown level `{word}`; {hint}")
    return word


def _kind(word: str) -> str:
    if word not in KINDS:
        raise refused(f"kinds are {', '.join(KINDS)}, not {word!r}.")
    return word


class _OrOne:
    """Accepts a list, or one value in its place."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, tuple) else (value,), handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


type Text = Annotated[str, Field(min_length=1)]
type Team = Annotated[str, Field(min_length=1, max_length=200)]
type LevelWord = Annotated[str, AfterValidator(_level), Field(json_schema_extra={"enum": list(WORDS)})]
type KindWord = Annotated[str, AfterValidator(_kind), Field(json_schema_extra={"enum": list(KINDS)})]
type Some[T] = Annotated[tuple[T, ...], Field(min_length=1, max_length=50), _OrOne()]


class ResourceMatch(Strict):
    """Which resources and levels a line is about; a key that is left out matches anything."""

    connection: Some[Text] = ()
    environment: Some[Text] = ()
    kind: Some[KindWord] = ()
    name: Some[Text] = ()  # globs
    tag: Some[Text] = ()
    owner: Some[Text] = ()  # team slugs
    level: Some[LevelWord] = ()

    def words(self) -> str:
        """Say the match in words: "environment production, kind pool or deployment"."""
        return ", ".join(f"{key} {' or '.join(values)}" for key, values in self if values) or "everything"


# People and teams


class NamedPerson(Strict):
    """A person, named by their user name at an identity provider."""

    idp: str = Field(min_length=1, max_length=50, pattern="^[^:]+$")
    username: str = Field(min_length=1, max_length=200)

    @property
    def key(self) -> str:
        return f"{self.idp}:{self.username}"


_NOBODY = NamedPerson.model_construct(idp="", username="")


class TeamOrPerson(Strict):
    """Either a team or a person."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["team"]}, {"required": ["person"]}]})
    team: Team = ""
    person: NamedPerson = _NOBODY

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if ("team" in self.model_fields_set) is ("person" in self.model_fields_set):
            raise PydanticCustomError("neither_or_both", "either a `team` or a `person`")
        return self

    @property
    def source(self) -> Source:
        return Source("team", self.team) if self.team else Source("person", self.person.key)


def _source(value: Any) -> Source:
    return TeamOrPerson.model_validate(value).source


type Somebody = Annotated[
    Source,
    PlainValidator(_source, json_schema_input_type=TeamOrPerson),
    Hint("write {team: slug} or {person: {idp: …, username: …}}"),
]
type Approver = Annotated[
    Source,
    PlainValidator(
        lambda value: Source("owners") if value == "owners" else _source(value),
        json_schema_input_type=Literal["owners"] | TeamOrPerson,
    ),
    Hint("write owners, {team: …} or {person: …}"),
]
type People = Annotated[tuple[Somebody, ...], Field(max_length=50)]
type Asking = Annotated[tuple[Somebody, ...], Field(min_length=1, max_length=50)]
_ASKING: TypeAdapter[tuple[Source, ...]] = TypeAdapter(Asking)


def _ask(value: Any) -> tuple[Source, ...] | None:
    return None if value == "anyone" else _ASKING.validate_python(value)


type Askers = Annotated[
    tuple[Source, ...] | None,  # None: anyone
    PlainValidator(_ask, json_schema_input_type=Literal["anyone"] | Asking),
    Hint("write anyone, or a list of {team: …} and {person: …}"),
]
