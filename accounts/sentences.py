"""The sentences of accounts for a person whose action was refused."""

from __future__ import annotations

from enum import unique

from accounts.errors import Sentence


@unique
class Says(Sentence):
    NOT_OF_TEAM = "Only members of team {team} and admins can manage its service identities."
    NOT_A_SERVICE = "{name} is a person."
    NO_NAME = "Give it a name that says what it runs, like “etl worker”."
    NAME_HIDES = "The name has a character that cannot be seen ({character}). Delete it, or type the name again."
    NAME_TAKEN = "Team {team} has a service identity called {name} already."
    CODE_WRONG = "This code does not work. A code is valid for {minutes} minutes and works once."
    CODE_TRIES = "Too many wrong codes were typed. No code works for now; try again {again}."
