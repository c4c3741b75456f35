"""The levels of access as bits, and the key of a resource. Free of Django, for the gate and the policy."""

from __future__ import annotations

from enum import Flag
from typing import NamedTuple


class Level(Flag):
    """A level of access with all levels that it contains. `asked in held` says whether `held` is enough."""

    VIEW = 0b0000001
    RUN = 0b0000011
    OPERATE = 0b0000111
    MANAGE = 0b0001111
    WORK = 0b0010011  # contains run; manage does not contain it
    SECRET = 0b0100000
    ADMIN = 0b1001111  # servers only: everything except work and secret

    @property
    def word(self) -> str:
        """The level's name on pages, in the policy and in the database."""
        assert self.name is not None
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Level:
        """Return the level called `word`. Raises ValueError for any other word, also for combinations of levels."""
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

# The levels that can be asked for on each kind of resource, the least first.
LEVELS_OF: dict[str, tuple[Level, ...]] = {
    "server": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE, Level.WORK, Level.ADMIN),
    "pool": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE, Level.WORK),
    "deployment": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE),
    "block": (Level.VIEW, Level.SECRET),
    "dag": (Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE),
}
KINDS = tuple(LEVELS_OF)
# `work` lets a machine poll for runs and execute them; only service identities get it.
SERVICES_ONLY = frozenset({Level.WORK})


class Key(NamedTuple):
    """What identifies a resource and never changes: connection slug, kind, id at the orchestrator."""

    connection: str
    kind: str
    id: str
