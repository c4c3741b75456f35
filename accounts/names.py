"""Names and ids from other systems: compared exactly as they came, or left out and reported; never repaired.

A person who can make a group, a user or a pool must gain nothing by a name that looks like another one, and sign-in
and directory must read a name in the same way. Pure functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

GROUPS_MAX = 500
NAME_MAX = 200
ID_MAX = 255  # OpenID Connect Core §2, of a `sub`

_SHOWN = 3  # names that a sentence shows; the rest is counted


def odd(text: object, longest: int = NAME_MAX) -> str:
    """Say why this cannot be used as a name or an id; "" when it can."""
    if not isinstance(text, str):
        return "not text"
    if not text:
        return "empty"
    if len(text) > longest:
        return f"longer than {longest} characters"
    if not text.isprintable():  # no space except U+0020, no NUL, no lone surrogate, no bidirectional control
        return "unprintable"
    return "blank at an end" if text != text.strip() else ""


class Groups(NamedTuple):
    """The usable groups of a list, and those left out as (name, reason), safe for a log."""

    names: frozenset[str]
    left_out: tuple[tuple[str, str], ...] = ()


def read_groups(listed: Iterable[object], *, paths: bool, first: Iterable[str] = (), prefix: str = "") -> Groups:
    """Read group names, in the same way for sign-in and for the directory.

    With `paths`, each group is a full path as Keycloak writes it, "/parent/child". Its first slash is left out; a group
    without one did not come from the mapper that docs/operations.md asks for, so it is not used. The rest is the name,
    unchanged. Of too many groups, those in `first` and those with `prefix` are kept before others, then by name.
    """
    portals, names, left_out = frozenset(first), set[str](), []
    for given in listed:
        name, why = _name(given, paths=paths)
        if not why and name not in portals and name.startswith(prefix) and name != prefix:
            why = odd(name.removeprefix(prefix))  # a team, whose name is the rest
        if why:
            left_out.append((shown(given), why))
        else:
            names.add(name)
    ranked = sorted(names, key=lambda name: (name not in portals, not name.startswith(prefix), name))
    left_out += [(shown(name), f"one of more than {GROUPS_MAX}") for name in ranked[GROUPS_MAX:]]
    return Groups(frozenset(ranked[:GROUPS_MAX]), tuple(left_out))


def _name(given: object, *, paths: bool) -> tuple[str, str]:
    """The name of a group, and why it cannot be used ("" when it can)."""
    if not paths or not isinstance(given, str):
        return str(given), odd(given)
    return given[1:], odd(given[1:]) if given.startswith("/") else "not a full path"


def shown(given: object) -> str:
    """Make any value from outside safe for a log and a row: invisible characters become escapes."""
    return ascii(given if isinstance(given, str) else type(given).__name__)[:60]


def said(left_out: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    """Say in a sentence which names of each kind ("group") were left out; "" when none were."""
    sentences = []
    for kind, found in left_out.items():
        each = sorted(set(found))
        if not each:
            continue
        reasons = ", ".join(f"{why} {count}" for why, count in sorted(Counter(why for _, why in each).items()))
        some = ", ".join(what for what, _ in each[:_SHOWN]) + (", …" if len(each) > _SHOWN else "")
        sentences.append(f"{len(each)} odd {kind}{'s' if len(each) > 1 else ''} left out ({reasons}): {some}.")
    return " ".join(sentences)
