"""Names and ids that others make: compared exactly as they came, or left out and said; never repaired.

Whoever can make a group, a user or a pool must not gain by one that looks like another, and two ways in must not
read one name differently. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

GROUPS_MAX = 500
NAME_MAX = 200
ID_MAX = 255  # OpenID Connect Core §2, of a `sub`

_SHOWN = 3  # of what is left out; the rest is counted


def odd(text: object, longest: int = NAME_MAX) -> str:
    """Why this can't be a name or an id here; "" for one that can."""
    if not isinstance(text, str):
        return "not text"
    if not text:
        return "empty"
    if len(text) > longest:
        return f"longer than {longest} characters"
    if (
        not text.isprintable()
    ):  # no space but the ordinary one, no NUL, no half of a pair, nothing that turns text around
        return "unprintable"
    return "blank at an end" if text != text.strip() else ""


class Groups(NamedTuple):
    """What is left of a list of groups, and what is not: (what, why), fit for a log."""

    names: frozenset[str]
    left_out: tuple[tuple[str, str], ...] = ()


def read_groups(listed: Iterable[object], *, paths: bool, first: Iterable[str] = (), prefix: str = "") -> Groups:
    """The one reading of group names, for sign-in and for the directory.

    `paths`: each is the full path that Keycloak writes, "/parent/child"; its first slash is the format's, and what
    has none was not written by the mapper that we ask for. The rest is the name, letter by letter. Of too many, those
    in `first` and those with `prefix` are kept before others, then by name: never by chance.
    """
    portals, names, left_out = frozenset(first), set[str](), []
    for given in listed:
        name, why = _name(given, paths=paths)
        if not why and name not in portals and name.startswith(prefix) and name != prefix:
            why = odd(name.removeprefix(prefix))  # a team, which is called by the rest
        if why:
            left_out.append((shown(given), why))
        else:
            names.add(name)
    ranked = sorted(names, key=lambda name: (name not in portals, not name.startswith(prefix), name))
    left_out += [(shown(name), f"one of more than {GROUPS_MAX}") for name in ranked[GROUPS_MAX:]]
    return Groups(frozenset(ranked[:GROUPS_MAX]), tuple(left_out))


def _name(given: object, *, paths: bool) -> tuple[str, str]:
    """The name of a group, and why it is none."""
    if not paths or not isinstance(given, str):
        return str(given), odd(given)
    return given[1:], odd(given[1:]) if given.startswith("/") else "not a full path"


def shown(given: object) -> str:
    """Anything from outside, fit for a log and a row: what can't be seen is written as an escape."""
    return ascii(given if isinstance(given, str) else type(given).__name__)[:60]


def said(left_out: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    """What was left out of which kind ("group name"), in a sentence; "" for nothing."""
    sentences = []
    for kind, found in left_out.items():
        each = sorted(set(found))
        if not each:
            continue
        reasons = ", ".join(f"{why} {count}" for why, count in sorted(Counter(why for _, why in each).items()))
        some = ", ".join(what for what, _ in each[:_SHOWN]) + (", …" if len(each) > _SHOWN else "")
        sentences.append(f"{len(each)} odd {kind}{'s' if len(each) > 1 else ''} left out ({reasons}): {some}.")
    return " ".join(sentences)
