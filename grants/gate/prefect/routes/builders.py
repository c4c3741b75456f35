"""Builders for lines of the table of which there are many."""

from grants.catalog.levels import Level
from grants.gate.decision.limits import LISTED, SMALL
from grants.gate.decision.types import ANY, Body, Drains, Guard, Needs, Route, Scope


def listed(scope: Scope, *paths: str) -> tuple[Route, ...]:
    """Lists and counts, for every signed-in caller, of what each may see."""
    return tuple(
        Route("POST", f"/api/{path}", ANY, body=Body.JSON, scope=scope, drains=Drains.ALWAYS, most=LISTED)
        for path in paths
    )


def opened(method: str, *paths: str) -> tuple[Route, ...]:
    """Lines for every signed-in caller, which tell and change nothing that belongs to anybody."""
    return tuple(Route(method, path, ANY, tells_nothing=True, drains=Drains.ALWAYS) for path in paths)


def administered(method: str, *paths: str, most: int = SMALL) -> tuple[Route, ...]:
    body = Body.NONE if method == "DELETE" else Body.STREAM
    return tuple(Route(method, path, Level.ADMIN, body=body, most=most) for path in paths)


def guarded(
    method: str,
    path: str,
    need: Level,
    guard: Guard,
    needs: Needs | None = None,
    drains: Drains = Drains.NOTHING,
    most: int = SMALL,
) -> Route:
    """Lines that are judged by their bodies: `need` is what a call takes at least, or mostly."""
    body = Body.NONE if method in {"GET", "DELETE"} else Body.JSON
    return Route(method, path, need, body=body, guard=guard, needs=needs, drains=drains, most=most)
