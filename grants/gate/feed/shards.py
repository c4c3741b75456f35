"""An immutable mapping in parts, for large tables with small changes: a change copies the parts that it touches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Self, override

_PARTS = 1024  # of 100,000 keys each holds 100
_NOBODYS: Mapping[object, object] = {}  # is never written to


class Shards[K, V](Mapping[K, V]):
    """Never changed once it is shared, so a reader sees one moment. While it is open, nobody else may have it."""

    __slots__ = ("_open", "_parts")

    def __init__(self, parts: list[dict[K, V]] | None = None, *, is_open: bool = False) -> None:
        self._parts: list[dict[K, V]] = parts if parts is not None else [_NOBODYS] * _PARTS  # type: ignore[list-item]
        self._open = is_open

    @classmethod
    def opened(cls) -> Self:
        """Make an empty one, which `changed` fills in place until it is `shut`."""
        return cls([{} for _ in range(_PARTS)], is_open=True)

    def shut(self) -> Self:
        """Close it for changes in place."""
        return type(self)(self._parts) if self._open else self

    def changed(self, put: Mapping[K, V], drop: Collection[K] = ()) -> Self:
        """Give the mapping with the entries of `put`, and without the keys of `drop`."""
        parts, mine = (self._parts, None) if self._open else (list(self._parts), set[int]())
        for key in drop:
            _own(parts, hash(key) % _PARTS, mine).pop(key, None)
        for key, value in put.items():
            _own(parts, hash(key) % _PARTS, mine)[key] = value
        return self if self._open else type(self)(parts)

    @override
    def __getitem__(self, key: K) -> V:
        return self._parts[hash(key) % _PARTS][key]

    @override
    def get[D](self, key: K, default: V | D | None = None) -> V | D | None:  # type: ignore[override]
        return self._parts[hash(key) % _PARTS].get(key, default)

    @override
    def __contains__(self, key: object) -> bool:
        return key in self._parts[hash(key) % _PARTS]

    @override
    def __iter__(self) -> Iterator[K]:
        for part in self._parts:
            yield from part

    @override
    def __len__(self) -> int:
        return sum(map(len, self._parts))


def _own[K, V](parts: list[dict[K, V]], at: int, mine: set[int] | None) -> dict[K, V]:
    if mine is not None and at not in mine:
        parts[at] = dict(parts[at])
        mine.add(at)
    return parts[at]
