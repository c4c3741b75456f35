"""Every sentence that refuses an action is used, and given what it speaks of: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest

from accounts.errors import Conflict, NotAllowed, Sentence
from accounts.sentences import Says

ROOMS = ("accounts", "grants.catalog", "grants.lifecycle", "grants.tokens")
ROOT = Path(__file__).resolve().parents[2]


class Use(NamedTuple):
    where: str
    room: str
    member: str
    params: frozenset[str]


@cache
def uses() -> tuple[Use, ...]:
    """Each call that is given a member of a room's Says, or one of two, with the names of its parameters."""
    found = []
    for top in ("accounts", "grants"):
        for file in sorted((ROOT / top).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            rooms = [
                node.module.removesuffix(".sentences")
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith(".sentences")
            ]
            for call in ast.walk(tree) if rooms else ():
                if isinstance(call, ast.Call) and call.args:
                    params = frozenset(word.arg or "**" for word in call.keywords)
                    where = f"{file.relative_to(ROOT)}:{call.lineno}"
                    found += [Use(where, rooms[0], member, params) for member in _members(call.args[0], tree)]
    return tuple(found)


def _members(node: ast.expr, tree: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="Says"), attr=member):
            yield member
        case ast.IfExp(body=one, orelse=other):
            yield from _members(one, tree)
            yield from _members(other, tree)
        case ast.Name(id=name):
            for assigned in ast.walk(tree):
                match assigned:
                    case ast.Assign(targets=[ast.Name(id=target)], value=ast.IfExp() as value) if target == name:
                        yield from _members(value, tree)


def says(room: str) -> type[Sentence]:
    found: type[Sentence] = import_module(f"{room}.sentences").Says
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_each_sentence_is_used_and_gets_its_parameters(room: str) -> None:
    found = [use for use in uses() if use.room == room]
    assert {use.member for use in found} == {one.name for one in says(room)}
    for use in found:
        needed = {field for _, field, _, _ in Formatter().parse(says(room)[use.member].value) if field is not None}
        assert needed <= use.params, use.where
        assert "" not in needed, use.where


def test_every_room_with_sentences_is_looked_at() -> None:
    found = {str(file.relative_to(ROOT).parent).replace("/", ".") for top in ("accounts", "grants")
             for file in (ROOT / top).rglob("sentences.py")}  # fmt: skip
    assert found == set(ROOMS)


def test_an_error_has_a_code_parameters_and_a_sentence() -> None:
    """What a user typed is a parameter: braces in it stay as they are."""
    error = NotAllowed(Says.NAME_TAKEN, team="sre", name="{team} {0}")
    assert error.code == "name_taken"
    assert error.params == {"team": "sre", "name": "{team} {0}"}
    assert error.reason == str(error) == "Team sre has a service identity called {team} {0} already."
    assert not isinstance(error, Conflict)
