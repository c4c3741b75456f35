"""How much of a resource: the levels as bits, and how resources are named. Django-free (gate, policy)."""

from __future__ import annotations

from enum import Flag
from typing import NamedTuple


class Level(Flag):
    """Each level with everything it contains (DESIGN §1); `held >= asked` is `asked in held`."""

    VIEW = 0b0000001
    RUN = 0b0000011
    OPERATE = 0b0000111
    MANAGE = 0b0001111
    WORK = 0b0010011  # contains run; manage does not contain it
    SECRET = 0b0100000
    ADMIN = 0b1001111  # servers only: all but work and secret

    @property
    def word(self) -> str:
        """The word on screens, in the policy and in the database."""
        assert self.name is not None
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Level:
        """The level called `word`. Raises ValueError for anything else, combinations included."""
        try:
            return _BY_WORD[word]
        except KeyError:
            raise ValueError(f"{word!r} is not a level") from None


_BY_WORD = {
    "view": Level.VIEW,
    "run": Level.RUN,
    "operate": Level.OPERATE,
    "manage": Level.MANAGE,
    "work": Level.WORK,
    "secret": Level.SECRET,
    "admin": Level.ADMIN,
}
WORDS = tuple(_BY_WORD)

# What can be asked for on each kind of resource, least first.
LEVELS_OF: dict[str, tuple[Level, ...]] = {
    "server": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE, Level.WORK, Level.ADMIN),
    "pool": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE, Level.WORK),
    "deployment": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE),
    "block": (Level.VIEW, Level.SECRET),
    "dag": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE),
}
KINDS = tuple(LEVELS_OF)
# `work` is how machines poll and execute; nobody's laptop does.
SERVICES_ONLY = frozenset({Level.WORK})


class Key(NamedTuple):
    """A resource by what never changes of it: connection slug, kind, upstream id."""

    connection: str
    kind: str
    id: str
