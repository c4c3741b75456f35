"""The lines of a policy by what they could match: a long policy is not walked for each resource. Django-free."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from grants.policy.rulings import Facts
from grants.policy.values import ResourceMatch

_SPECIAL = re.compile(r"[*?\[]")


class MatchIndex[Line]:
    """Owners, roles or rules of one policy, in the order of the file."""

    def __init__(self, lines: Iterable[Line], match: Callable[[Line], ResourceMatch]) -> None:
        self._lines = [(match(line), line) for line in lines]
        self._places: dict[tuple[str, str, str], _Place] = {}

    def near(self, facts: Facts) -> Iterator[Line]:
        """Every line that matches the resource is among these, in order; whether one does is for who asks to judge."""
        key = (facts.connection, facts.environment, facts.kind)
        place = self._places.get(key)
        if place is None:
            here = [n for n, (match, _) in enumerate(self._lines) if _here(match, *key)]
            place = self._places[key] = _Place((n, self._lines[n][0].name) for n in here)
        return (self._lines[n][1] for n in place.named(facts.name))


class _Place:
    """The lines that a connection and a kind leave, by how the names begin that they match."""

    def __init__(self, lines: Iterable[tuple[int, Sequence[str]]]) -> None:
        self._by_beginning: dict[str, list[int]] = {}
        for number, globs in lines:
            for beginning in {_beginning(glob) for glob in globs} or {""}:
                self._by_beginning.setdefault(beginning, []).append(number)
        self._lengths = sorted({len(beginning) for beginning in self._by_beginning})

    def named(self, name: str) -> list[int]:
        found = {number for length in self._lengths for number in self._by_beginning.get(name[:length], ())}
        return sorted(found)


def _beginning(glob: str) -> str:
    """What every name begins with that the glob matches: up to its first special character."""
    special = _SPECIAL.search(glob)
    return glob[: special.start()] if special else glob


def _here(match: ResourceMatch, connection: str, environment: str, kind: str) -> bool:
    return (
        any_glob(match.connection, connection)
        and any_glob(match.environment, environment)
        and (not match.kind or kind in match.kind)
    )


def any_glob(globs: Sequence[str], value: str) -> bool:
    """No glob at all matches anything."""
    return not globs or any(fnmatchcase(value, glob) for glob in globs)
