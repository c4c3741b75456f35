"""Models that read files strictly and report all mistakes at once, with line and column. Free of Django."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, override

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from grants.policy.yaml_marks import Marks, Place, PolicyErrors, load

_TYPES = {
    "bool_type": "boolean", "int_type": "integer", "model_type": "object", "string_type": "string",
    "tuple_type": "array",
}  # fmt: skip


class Mistake(NamedTuple):
    """What is wrong, and its place relative to the value that is validated."""

    place: Place
    message: str


class Strict(BaseModel):
    """A part of a file: values are not converted, unknown keys are refused, instances are immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _tell(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Put mistakes into words here, where the possible keys are known."""
        try:
            return handler(value)
        except ValidationError as error:
            if error.errors()[0]["type"] == "model_type":
                raise  # the enclosing model reports it; only that one knows what is expected here
            known = [field.alias or name for name, field in cls.model_fields.items()]
            raise wrong(*_told(error.errors(include_url=False), sorted(known))) from None


def refused(message: str) -> PydanticCustomError:
    """Return the error that a validator raises for its own value."""
    return PydanticCustomError("told", "{message}", {"message": message})


def wrong(*mistakes: Mistake) -> ValidationError:
    """Return the error that a validator raises for values inside its own, or for several mistakes."""
    return ValidationError.from_exception_data("wrong", [
        InitErrorDetails(type=refused(message), loc=place, input=None)
        for place, message in mistakes
    ])  # fmt: skip


def _told(errors: Sequence[ErrorDetails], known: Sequence[str]) -> Iterator[Mistake]:
    missing = [f"`{error['loc'][-1]}`" for error in errors if error["type"] == "missing"]
    if missing:
        yield Mistake((), f"{', '.join(missing)} is missing.")
    for error in errors:
        place, given = error["loc"], error["input"]
        name = f"`{place[-1]}`" if place and isinstance(place[-1], str) else "this"
        match error["type"]:
            case "told":
                yield Mistake(place, error["msg"])
            case "missing":
                continue
            case "extra_forbidden":
                yield Mistake(place, f"{name} is not known here; known are {', '.join(known)}.")
            case "hint":
                yield Mistake(place, f"{name}: {error['msg']}.")
            case "literal_error":
                yield Mistake(place, f"{given!r} is not one of {error['ctx']['expected']}.")
            case kind if kind in _TYPES:
                yield Mistake(place, f"{name} must be a {_TYPES[kind]}, not {_given(given)}.")
            case _:
                yield Mistake(place, f"{name}: {error['msg']}, not {_given(given)}.")


def _given(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, tuple) else repr(value)


@dataclass(frozen=True, slots=True)
class Hint:
    """Says what to write here: shown to people instead of the type's message, and to editors as the description.

    Mistakes in values inside this one keep their own messages.
    """

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def hint(value: Any, validate: Callable[[Any], Any]) -> Any:
            try:
                return validate(value)
            except ValidationError as error:
                if any(one["loc"] for one in error.errors()):
                    raise
                raise PydanticCustomError("hint", "{text}", {"text": self.text}) from None

        return core_schema.no_info_wrap_validator_function(hint, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "description": self.text}


def read[Model: Strict](model: type[Model], text: str) -> tuple[Model, Any, Marks]:
    """Read a file; return the model, the plain values and the place of each. Raises PolicyErrors."""
    value, marks = load(text)
    try:
        return model.model_validate(value), value, marks
    except ValidationError as error:
        problems = [marks.problem(*mistake) for mistake in _told(error.errors(include_url=False), ())]
        raise PolicyErrors(list(dict.fromkeys(problems))) from None


class _Plain(GenerateJsonSchema):
    """Leaves out the titles, which only repeat the keys."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def json_schema(model: type[Strict], title: str) -> dict[str, Any]:
    """Return the JSON Schema by which an editor checks such a file."""
    schema = model.model_json_schema(schema_generator=_Plain)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}
