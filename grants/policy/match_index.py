"""Index the lines of a policy by what they can match, so that a long policy is not walked for each resource."""

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
        self._indexes: dict[tuple[str, str, str], _PrefixIndex] = {}

    def possible(self, facts: Facts) -> Iterator[Line]:
        """Yield, in order, every line that can match the resource; the caller checks whether it does."""
        key = (facts.connection, facts.environment, facts.kind)
        index = self._indexes.get(key)
        if index is None:
            here = [n for n, (match, _) in enumerate(self._lines) if _here(match, *key)]
            index = self._indexes[key] = _PrefixIndex((n, self._lines[n][0].name) for n in here)
        return (self._lines[n][1] for n in index.named(facts.name))


class _PrefixIndex:
    """The lines that one connection and kind leave, by the beginning of the names that they match."""

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
    """The beginning of every name that the glob matches: the part before its first special character."""
    special = _SPECIAL.search(glob)
    return glob[: special.start()] if special else glob


def _here(match: ResourceMatch, connection: str, environment: str, kind: str) -> bool:
    return (
        any_glob(match.connection, connection)
        and any_glob(match.environment, environment)
        and (not match.kind or kind in match.kind)
    )


def any_glob(globs: Sequence[str], value: str) -> bool:
    """Does a glob match the value? Without any glob everything matches."""
    return not globs or any(fnmatchcase(value, glob) for glob in globs)
