"""Errors of users: a code with parameters. The sentence is made where the error is shown."""

from __future__ import annotations

from enum import Enum


class Sentence(Enum):
    """The sentences of one room, for the person who tried: each room has its own subclass, in one module.

    A member's name is the code of an API and of a log; its value is a template for str.format().
    """

    @property
    def code(self) -> str:
        return self.name.lower()

    def say(self, **params: object) -> str:
        """The sentence with its parameters. Raises KeyError when one is missing."""
        template: str = self.value
        return template.format(**params)


class UserError(Exception):
    """Why an action did not happen."""

    def __init__(self, sentence: Sentence, **params: object) -> None:
        super().__init__(sentence, params)
        self.sentence = sentence
        self.params = params

    @property
    def code(self) -> str:
        return self.sentence.code

    @property
    def reason(self) -> str:
        """The sentence for the person who tried."""
        return self.sentence.say(**self.params)

    def __str__(self) -> str:
        return self.reason


class NotAllowed(UserError):
    """The rules say no. Trying again will not help."""


class Conflict(UserError):
    """The thing has changed meanwhile, by another person or because its time is over."""
