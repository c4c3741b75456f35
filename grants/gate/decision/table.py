"""A table of routes, compiled to a tree of segments: a literal goes before a parameter, and no call has two lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, groupby
from typing import NamedTuple

from grants.gate.decision.ids import UUID
from grants.gate.decision.limits import LARGE, LISTED
from grants.gate.decision.types import ANY, Body, Code, Match, Refusal, Route, Scope, Target

_PARAMETER = re.compile(r"\{(?P<name>\w+)(?::(?P<kind>str|uuid|path))?\}")
_CONVERTER = re.compile(r":\w+}")


class TwoLines(Exception):
    """Two lines match one call."""


class Boundless(Exception):
    """The body of a line has no bound, or a bound that no body fits into."""


class Unscoped(Exception):
    """The answers of a line would pass un-narrowed to everybody who is signed in, or could not be narrowed."""


class _Compiled(NamedTuple):
    route: Route
    values: tuple[tuple[str, int], ...]  # parameter -> its segment
    rest: tuple[str, int] | None = None


class _Node:
    __slots__ = ("any_segment", "lines", "literals", "rest", "uuid")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.uuid: _Node | None = None
        self.any_segment: _Node | None = None
        self.rest: dict[str, _Compiled] = {}  # lines with {x:path}, which takes all segments that are left, or none
        self.lines: dict[str, _Compiled] = {}


class RouteTable:
    """The routes of one connection, compiled. Raises TwoLines, Boundless or Unscoped."""

    def __init__(self, routes: Sequence[Route], connection: str) -> None:
        self.connection = connection
        self.routes = tuple(routes)
        _refuse_overlaps(self.routes)
        _refuse_unbounded(self.routes)
        _refuse_unscoped(self.routes)
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        values: list[tuple[str, int]] = []
        for at, segment in enumerate(_segments(route.template)):
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None:
                node = node.literals.setdefault(segment, _Node())
                continue
            if parameter["kind"] == "path":
                node.rest[route.method] = _Compiled(route, tuple(values), (parameter["name"], at))
                return
            values.append((parameter["name"], at))
            if parameter["kind"] == "uuid":
                node.uuid = node = node.uuid or _Node()
            else:
                node.any_segment = node = node.any_segment or _Node()
        node.lines[route.method] = _Compiled(route, tuple(values))

    def match(self, method: str, target: Target) -> Match | Refusal:
        """Find the one line that takes a call. `method` is WS for a socket. A call that no line takes is refused."""
        segments = target.path[1:].split("/")
        line = _find(self._root, method, segments, 0)
        if not isinstance(line, _Compiled):
            return Refusal(405, Code.METHOD) if line else Refusal(404, Code.ROUTE)
        params = {name: segments[at] for name, at in line.values}
        if line.rest is not None:
            params[line.rest[0]] = "/".join(segments[line.rest[1] :])
        return Match(line.route, params, target, self.connection)


def _find(node: _Node, method: str, segments: Sequence[str], at: int) -> _Compiled | bool:
    """Find the line, the most literal one first; else tell whether a line has this path with another method."""
    known = False
    if at == len(segments):
        if line := node.lines.get(method):
            return line
        known = bool(node.lines)
    else:
        segment = segments[at]
        literal = node.literals.get(segment)
        uuid = node.uuid if node.uuid is not None and UUID.fullmatch(segment) else None
        for child in (literal, uuid, node.any_segment if segment else None):
            if child is not None:
                found = _find(child, method, segments, at + 1)
                if isinstance(found, _Compiled):
                    return found
                known = known or found
        if literal is not None:
            return known  # so that /api/{anything} is never taken for a file of the UI
    return node.rest.get(method) or known or bool(node.rest)


def plain(template: str) -> str:
    """Drop the converters of a template's parameters: "/api/flows/{id:uuid}" becomes "/api/flows/{id}"."""
    return _CONVERTER.sub("}", template)


def _segments(template: str) -> list[str]:
    return template[1:].split("/")


def _refuse_overlaps(routes: Sequence[Route]) -> None:
    def group(route: Route) -> tuple[str, int]:
        return route.method, len(_segments(route.template))

    for _, lines in groupby(sorted(routes, key=group), group):
        for one, other in combinations(lines, 2):
            if _overlap(one.template, other.template):
                raise TwoLines(f"{one.method} {one.template} and {other.template}")


def _refuse_unbounded(routes: Sequence[Route]) -> None:
    """Refuse lines whose bodies are too large to be held in memory, or to be worked on as a list's filter."""
    for route in routes:
        largest = {Body.JSON: LARGE if route.scope is None else LISTED}.get(route.body, route.most)
        if route.body is not Body.NONE and not 0 < route.most <= largest:
            raise Boundless(f"{route.method} {route.template}: {route.most}")


def _refuse_unscoped(routes: Sequence[Route]) -> None:
    """Refuse an ANY line that names neither a scope nor `tells_nothing`: everybody who is signed in passes ANY."""
    for route in routes:
        if route.scope is None:
            wrong = route.tells_nothing != (route.need == ANY)
        else:
            unread = route.body is Body.STREAM or (route.method == "POST" and route.body is not Body.JSON)
            unnamed = route.scope == "" or not isinstance(route.scope, Scope)  # an empty scope would be taken for none
            wrong = route.tells_nothing or unread or unnamed or route.need is None
        if wrong:
            raise Unscoped(f"{route.method} {route.template}: {route.scope}")


def _overlap(one: str, other: str) -> bool:
    """Tell whether a path matches both, and neither is more literal where they first differ.

    {id:uuid} and {name} count as such a pair: a name may look like an id.
    """
    for left, right in zip(_segments(one), _segments(other), strict=True):
        first, second = _PARAMETER.fullmatch(left), _PARAMETER.fullmatch(right)
        if first is None and second is None:
            if left != right:
                return False
        elif first is None or second is None:
            return False  # the literal wins
    return True
