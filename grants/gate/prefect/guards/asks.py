"""What a call asks for: most lines say so themselves; a line with a guard is judged by the call's body, too.

A guard names every key that its route takes, by hand from Prefect's description: a key that is not listed is
refused, for Prefect may give it a meaning that nobody here has judged.
"""

from __future__ import annotations

from grants.catalog.levels import Level
from grants.gate.decision.types import ANY, Ask, Code, Found, Json, Lookup, Match, Refusal
from grants.gate.prefect.reading.finds import OVERFLOWN, Malformed, anywhere, on, on_server, signed_in, wanted

_MOST = 1_000  # lookups of one call, which are made before it is known what its caller may do
_MOST_ALONE = 100  # of these that take one request to Prefect each
_TOGETHER = frozenset({"server", "flow_run", "flow_run_place", "task_run", "task_run_place", "deployment"})
_ANYWHERE = "any:"  # "any:work" in a line's `find`: a grant of that level on any resource passes, too


def needs(match: Match, body: Json) -> tuple[Lookup, ...] | Refusal:
    """What must be looked up at Prefect to judge a call."""
    route = match.route
    try:
        if route.needs is not None:
            return _each_once(route.needs(match, body))
        return _each_once(tuple(lookup for find in _finds(match) for lookup in wanted(find, match, body)))
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))
    except OverflowError:
        return OVERFLOWN


def asks(match: Match, body: Json, found: Found) -> tuple[Ask, ...] | Refusal:
    """All that the caller must be granted: nothing for a public line, and at least one ask for every other."""
    route = match.route
    if route.need is None:
        return ()
    try:
        asked = route.guard(match, body, found) if route.guard is not None else _plain(match, body, found, route.need)
    except Malformed as why:
        return Refusal(400, Code.BODY, why=str(why))
    except OverflowError:
        return OVERFLOWN
    if not asked:
        return Refusal(403, Code.GUARD, why="This gate does not know what that call would need.")
    return asked


def _plain(match: Match, body: Json, found: Found, need: Level) -> tuple[Ask, ...]:
    if need == ANY:
        return signed_in(match)
    also = tuple(
        key
        for find in match.route.find
        if find.startswith(_ANYWHERE)
        for key in anywhere(match, Level.of(find.removeprefix(_ANYWHERE)))
    )
    lookups = [lookup for find in _finds(match) for lookup in wanted(find, match, body)]
    if not lookups:
        return (on_server(match, need, *also),)
    return tuple(on(match, lookup, found, need, also) for lookup in lookups)


def _finds(match: Match) -> tuple[str, ...]:
    return tuple(find for find in match.route.find if not find.startswith(_ANYWHERE))


def _each_once(lookups: tuple[Lookup, ...] | Refusal) -> tuple[Lookup, ...] | Refusal:
    if isinstance(lookups, Refusal):
        return lookups
    distinct = tuple(dict.fromkeys(lookups))
    if len(distinct) > _MOST:
        raise Malformed(f"The body names more than {_MOST} things.")
    if sum(lookup.kind not in _TOGETHER for lookup in distinct) > _MOST_ALONE:
        raise Malformed(f"The body names more than {_MOST_ALONE} things that Prefect tells of only one by one.")
    return distinct
