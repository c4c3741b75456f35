"""Read YAML with the line and column of every value, and report problems with them. Free of Django."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

SIZE_MAX = 256 * 1024  # characters
NODES_MAX = 20_000
DEPTH_MAX = 20

type Place = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong, where (counted from 1), and what to do."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}"


class PolicyErrors(Exception):
    """All problems of a file, sorted by line."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Marks(dict[Place, tuple[int, int]]):
    """Maps a place in the document to its line and column, counted from 1."""

    def problem(self, place: Place, message: str) -> Problem:
        """Return a problem at this place, or at the nearest enclosing place that is in the file."""
        while place and place not in self:
            place = place[:-1]
        return Problem(*self.get(place, (1, 1)), message)


def load(text: str) -> tuple[Any, Marks]:
    """Return the document's plain values (lists as tuples) and the place of each. Raises PolicyErrors."""
    if len(text) > SIZE_MAX:
        raise PolicyErrors([Problem(1, 1, f"The file is over {SIZE_MAX // 1024} KB.")])
    marks = Marks()
    try:
        _refuse_aliases(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        value = _plain(loader, node, (), marks) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise PolicyErrors([Problem(*where, f"This is not YAML: {error.problem or error.context}.")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PolicyErrors([Problem(1, 1, f"This is not YAML: {error}.")]) from error
    return value, marks


def _refuse_aliases(text: str) -> None:
    """Refuse aliases, which can make a small file huge and which a policy does not need."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise PolicyErrors([_at(event.start_mark, "Write it out: aliases (*name) are not allowed here.")])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if count > NODES_MAX or depth > DEPTH_MAX:
            raise PolicyErrors([_at(event.start_mark, "The file holds too much, or is nested too deeply.")])


def _at(mark: Any, message: str) -> Problem:
    return Problem(mark.line + 1, mark.column + 1, message)


def _plain(loader: yaml.SafeLoader, node: yaml.Node, place: Place, marks: Marks) -> Any:
    marks[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.SequenceNode):
        return tuple(_plain(loader, child, (*place, n), marks) for n, child in enumerate(node.value))
    if isinstance(node, yaml.MappingNode):
        value: dict[Any, Any] = {}
        for key_node, child in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise PolicyErrors([_at(key_node.start_mark, f"{key!r} is no name: put it in quotes.")])
            if key in value:
                raise PolicyErrors([_at(key_node.start_mark, f"`{key}` stands here twice.")])
            value[key] = _plain(loader, child, (*place, key), marks)
            marks[(*place, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        return value
    return loader.construct_object(node, deep=True)
