"""One table of verbs: what code writes is in it, and what is in it is written by somebody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from grants.audit.verbs import About, Verb
from tests.test_house import CODE, ROOT

READERS = (
    "grants/audit/verbs.py",
    "grants/audit/verify.py",
    "grants/audit/export.py",
    "grants/web",
    "grants/notifications",
)
FAMILIES = {verb.partition(".")[0] for verb in Verb}


@cache
def written() -> tuple[tuple[str, Path], ...]:
    """Every verb that code writes, and where."""
    return tuple(_written())


def _written() -> Iterator[tuple[str, Path]]:
    """Every verb that code writes, as it names it: Verb.X, a string, a literal of SQL, or the gate's second half."""
    for path in CODE:
        if str(path.relative_to(ROOT)).startswith(READERS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id="Verb"), attr=name):
                    yield Verb[name].value, path
                case ast.Call(func=ast.Attribute(attr="event" | "_append"), args=[ast.Constant(value=str(verb)), *_]):
                    yield f"gate.{verb}", path
                case ast.Constant(value=str(text)) if "migrations" in path.parts:
                    yield from ((verb, path) for verb in re.findall(rf"'((?:{'|'.join(FAMILIES)})\.[a-z_]+)'", text))
                case ast.Constant(value=str(text)) if re.fullmatch(rf"({'|'.join(FAMILIES)})\.[a-z_]+", text):
                    if not text.endswith((".html", ".json", ".yaml", ".connection_file")):
                        yield text, path


def test_what_is_written_is_in_the_table() -> None:
    """Fault: happened.send(verb="service.mislaid"), which nobody notices before it happens."""
    unknown = {
        (verb, str(path.relative_to(ROOT))) for verb, path in written() if verb not in {known.value for known in Verb}
    }
    assert not unknown


def test_what_is_in_the_table_is_written() -> None:
    """Fault: a line that nothing writes; there were five."""
    assert not {verb.value for verb in Verb} - {verb for verb, _ in written()}


@pytest.mark.parametrize("verb", Verb)
def test_each_can_be_read(verb: Verb) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", verb)
    assert verb.sentence
    assert not verb.sentence.endswith(".")
    assert verb.tone in ("", "granted", "denied")
    assert isinstance(verb.about, About)
    assert Verb(str(verb)) is verb


def test_no_two_say_the_same() -> None:
    assert len({verb.sentence for verb in Verb}) == len(Verb)
